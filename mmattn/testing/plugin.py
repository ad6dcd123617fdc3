"""The contract of a plugin: a module that maps (N, C, H, W) to the same shape.

    class TestECA(PluginTester):
        module = ECA
        state_keys = {"conv.weight"}
        parameters = staticmethod(lambda channels: 3)

Each inherited test protects one promise that a user of ``plugins=[...]`` relies on; the block is
also put into each of the networks of ``mmattn.testing.plugin_hosts``.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmcv.cnn import build_plugin_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn.io.weights import read_weights_stream

from .plugin_hosts import HOSTS, build_host, host_input, outputs_of, record_calls

SIZES = [(1, 1), (1, 6), (6, 1), (5, 7), (8, 8)]


class _Network(BaseModule):
    """A network whose initialisation reaches into its plugin, as a ResNet's does."""

    def __init__(self, plugin: nn.Module):
        kaiming = {"type": "Kaiming", "layer": ["Conv1d", "Conv2d", "Linear"]}
        norms = {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]}
        super().__init__(init_cfg=[kaiming, norms])
        self.plugin = plugin


class PluginTester:
    """Inherit, name the module, and say what it promises.

    Attributes:
        module: The class under test; its first argument is the channel count.
        state_keys: The names in its state dict. They are an interface: published weights have them.
        in_channels: Channels to test with.
        arguments: Further keyword arguments.
        identity_at_init: Whether a fresh module returns its input.
        at_init: ``(module, x) -> y`` for a fresh module where the paper says what it does, or None.
        parameters: The number of parameters from the number of channels, as the paper counts them.
        reference: ``(module, x) -> y`` in float64, written independently of the module, or None.
    """

    module: type[nn.Module]
    state_keys: set[str]
    in_channels: int = 16
    arguments: dict[str, Any] = {}
    identity_at_init: bool = False
    at_init: Callable[[nn.Module, Tensor], Tensor] | None = None
    parameters: Callable[[int], int] | None = None
    reference: Callable[[nn.Module, Tensor], Tensor] | None = None

    def awaken(self, module: nn.Module) -> None:
        """Give zero-initialised gates a value, so that they hide no error."""

    def make(self, *, awake: bool = True) -> nn.Module:
        """A module with the same random weights every time, in eval mode."""
        torch.manual_seed(0)
        module = self.module(self.in_channels, **self.arguments).eval()
        if awake:
            self.awaken(module)
        return module

    def sample(self, height: int = 5, width: int = 7, batch: int = 2, **kwargs) -> Tensor:
        """A random input. Shape (batch, in_channels, height, width)."""
        generator = torch.Generator().manual_seed(height * 1000 + width)
        shape = (batch, self.in_channels, height, width)
        return torch.randn(shape, generator=generator, **kwargs)

    def test_builds_as_a_plugin_under_its_class_name(self) -> None:
        cfg = dict(type=f"mmattn.{self.module.__name__}", **self.arguments)
        _, layer = build_plugin_layer(cfg, in_channels=self.in_channels)
        assert type(layer) is self.module

    @pytest.mark.parametrize("name", HOSTS)
    def test_fits_into(self, name: str) -> None:
        """Detectors' and segmentors' networks take it, call all of it, and train it."""
        cfg = {"type": f"mmattn.{self.module.__name__}", **self.arguments}
        host = build_host(name, cfg, self.in_channels)
        blocks = {key: part for key, part in host.named_modules() if type(part) is self.module}
        assert len(blocks) >= 2
        for block in blocks.values():
            self.awaken(block)
        calls = record_calls(blocks)
        outputs = outputs_of(host, host_input(name, self.in_channels))
        assert calls.keys() == blocks.keys(), "each is called"
        for first in blocks:
            second = f"{first}_b"  # at the same position of a slot
            if second in blocks:
                assert calls[second][0] is calls[first][1], "both act, in order"
        sum(output.square().mean() for output in outputs).backward()
        for key, block in blocks.items():
            own = {inner: p.grad for inner, p in block.named_parameters()}
            lost = [
                inner for inner, grad in own.items() if grad is None or not grad.isfinite().all()
            ]
            assert not lost, f"no gradient for {lost} of {key}"
            assert not own or any(grad.any() for grad in own.values()), f"{key} does not learn"

    def test_state_dict_keys_are_frozen(self) -> None:
        assert set(self.make().state_dict()) == self.state_keys

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
    def test_keeps_shape_at_any_size(self, size: tuple[int, int]) -> None:
        x = self.sample(*size)
        y = self.make()(x)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.isfinite().all()

    def test_takes_an_empty_batch(self) -> None:
        x = self.sample(batch=0).requires_grad_()
        y = self.make()(x)
        assert y.shape == x.shape
        y.sum().backward()

    def test_is_the_identity_at_init(self) -> None:
        if not self.identity_at_init:
            pytest.skip("not promised")
        x = self.sample()
        assert torch.equal(self.make(awake=False)(x), x)

    def test_does_at_init_what_the_paper_says(self) -> None:
        if self.at_init is None:
            pytest.skip("not promised")
        module, x = self.make(awake=False), self.sample()
        torch.testing.assert_close(module(x), self.at_init(module, x))

    def test_a_networks_initialisation_does_not_undo_its_own(self) -> None:
        """mmengine initialises all convolutions and norms of a network, those of plugins too."""
        if not self.identity_at_init and self.at_init is None:
            pytest.skip("its initial state is not special")
        network = _Network(self.make(awake=False)).eval()
        network.init_weights()
        x = self.sample()
        expected = x if self.identity_at_init else self.at_init(network.plugin, x)
        torch.testing.assert_close(network.plugin(x), expected)

    def test_number_of_parameters_is_the_papers(self) -> None:
        if self.parameters is None:
            pytest.skip("no formula given")
        for channels in (self.in_channels, 2 * self.in_channels, 8 * self.in_channels):
            module = self.module(channels, **self.arguments)
            assert sum(p.numel() for p in module.parameters()) == self.parameters(channels)

    def test_names_a_wrong_number_of_channels(self) -> None:
        """A block that needs no channels as well: a wrong config is told at once, and where."""
        name = self.module.__name__
        advice = f"{name}.__init__ must raise ValueError naming in_channels for in_channels < 1"
        for channels in (0, -1):
            try:
                self.module(channels, **self.arguments)
            except ValueError as error:
                assert "in_channels" in str(error), f"{advice}, it says: {error}"
            else:
                pytest.fail(f"{advice}; {name}({channels}) is built")

    def test_leaves_its_input_alone(self) -> None:
        x = self.sample()
        before = x.clone()
        self.make()(x)
        assert torch.equal(x, before)

    def test_gradient_reaches_every_parameter_and_the_input(self) -> None:
        module, x = self.make().train(), self.sample().requires_grad_()
        (module(x) ** 2).sum().backward()
        for name, value in (*module.named_parameters(), ("input", x)):
            assert value.grad is not None, f"no gradient for {name}"
            assert value.grad.isfinite().all(), f"gradient of {name} is not finite"
            assert value.grad.any(), f"gradient of {name} is zero"

    def test_matches_the_reference_in_float64(self) -> None:
        if self.reference is None:
            pytest.skip("no independent reference")
        module = self.make().double()
        for size in SIZES:
            x = self.sample(*size, dtype=torch.float64)
            torch.testing.assert_close(module(x), self.reference(module, x), rtol=1e-10, atol=1e-10)

    def test_gradients_in_float64(self) -> None:
        """The derivative with respect to the input, against differences."""
        module = self.make().double()
        x = self.sample(3, 4, batch=1, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(module, x, fast_mode=True)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_near_float64(self, dtype: torch.dtype) -> None:
        module, x = self.make().to(dtype), self.sample().to(dtype)
        y = module(x)
        assert y.dtype == dtype
        # The truth has the same rounded weights and input, so only the arithmetic differs.
        truth = copy.deepcopy(module).double()(x.double())
        error = (y.double() - truth).abs().max()
        assert error <= 4 * torch.finfo(dtype).eps * truth.abs().max()

    def test_autocast_is_near_float64(self) -> None:
        module, x = self.make(), self.sample()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
        truth = copy.deepcopy(module).double()(x.double())
        error = (y.double() - truth).abs().max()
        assert error <= 4 * torch.finfo(torch.bfloat16).eps * truth.abs().max()

    def test_memory_layout_does_not_matter(self) -> None:
        module, x = self.make(), self.sample()
        expected = module(x)
        wide = self.sample(5, 14)
        wide[..., ::2] = x
        for same in (x.to(memory_format=torch.channels_last), wide[..., ::2]):
            torch.testing.assert_close(module(same), expected, rtol=1e-5, atol=1e-5)
        one = x[:1].expand(3, -1, -1, -1)  # one picture in memory, three in the batch
        torch.testing.assert_close(module(one), module(one.clone()), rtol=1e-5, atol=1e-5)

    def test_survives_saving_and_loading(self) -> None:
        module, x = self.make(), self.sample()
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        torch.manual_seed(1)
        other = self.module(self.in_channels, **self.arguments).eval()
        other.load_state_dict(read_weights_stream(file))
        assert torch.equal(other(x), module(x))

    def test_compiles_as_one_graph(self) -> None:
        module = self.make()
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
        for size in ((5, 7), (8, 6)):
            x = self.sample(*size)
            torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)

    @pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
    def test_onnx_runs_at_sizes_it_was_not_traced_at(self) -> None:
        onnxruntime = pytest.importorskip("onnxruntime")
        module = self.make()
        batch, height, width = (torch.export.Dim(name, min=1) for name in ("batch", "h", "w"))
        program = torch.onnx.export(
            module,
            (self.sample(),),
            dynamo=True,
            dynamic_shapes=({0: batch, 2: height, 3: width},),
            verbose=False,
        )
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        domains = {node.domain for node in program.model_proto.graph.node}
        assert domains <= {"", "ai.onnx"}, f"other than standard operators: {domains}"
        for size in ((5, 7), (3, 2), (9, 16), (1, 4)):
            x = self.sample(*size, batch=1 + size[0] % 4)
            (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            torch.testing.assert_close(torch.from_numpy(y), module(x), rtol=1e-4, atol=1e-4)
