"""The contract of a plugin: a module that maps (N, C, H, W) to the same shape.

    class TestECA(PluginTester):
        module = ECA
        state_keys = {"conv.weight"}
        parameters = staticmethod(lambda channels: 3)

Each inherited test protects one promise that a user of ``plugins=[...]`` relies on; the block is
also inserted into each of the networks of ``mmattn.testing.plugin_hosts``.

The tests run in pytest, which ``pip install 'mmattn[testing]'`` brings.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Set
from typing import Any

import pytest
import torch
from mmcv.cnn import build_plugin_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn.io.checkpoint_files import read_weights_stream
from mmattn.plugins.blocks import build_block
from mmattn.plugins.identity import RESIDUAL_SCALE

from .plugin_hosts import (
    HOSTS,
    build_host,
    host_input,
    load_plain_host,
    outputs_of,
    plain_outputs,
    record_calls,
)

SIZES = [(1, 1), (1, 6), (6, 1), (5, 7), (8, 8)]


class _Network(BaseModule):
    """A network whose initialisation reaches into its plugin, as that of a ResNet does."""

    def __init__(self, plugin: nn.Module):
        kaiming = {"type": "Kaiming", "layer": ["Conv1d", "Conv2d", "Linear"]}
        norms = {"type": "Constant", "val": 1, "layer": ["_BatchNorm", "GroupNorm"]}
        super().__init__(init_cfg=[kaiming, norms])
        self.plugin = plugin


def initialised_by_a_network(plugin: nn.Module) -> nn.Module:
    """Return ``plugin`` after mmengine has initialised a network that it is part of."""
    network = _Network(plugin).eval()
    network.init_weights()
    return network.plugin


class PluginTester:
    """Base class of a block's tests: inherit, name the module, and state what it promises.

    A block may expose its attention by a method ``attention_maps(x)``; it is tested if it is there.
    The method returns a dictionary of maps for an input of shape (N, C, H, W). Every map has the
    shape (N, K, H or 1, W or 1) and values in [0, 1]. For a gate, which scales its input, K is C
    or 1; for weights of the positions that K queries attend to, K is their number.

    Attributes:
        module: Class under test; its first argument is the number of channels.
        state_keys: Keys of its state dict. They are an interface: published weights have them.
        in_channels: Number of channels to test with.
        arguments: Further keyword arguments of the module.
        identity_at_init: Whether a fresh module returns its input.
        expected_at_init: ``(module, x) -> y``, the output of a fresh module, or None if the paper
            does not say.
        parameters: ``channels -> number of parameters``, as the paper counts them, or None.
        reference: ``(module, x) -> y`` in float64, written independently of the module, or None.
        output_is_gated_input: Whether the output is the input times all of ``attention_maps``.
        parameters_without_gradient: Names of parameters whose gradient in training is zero by
            mathematics, such as the bias of logits under a softmax, or of a convolution in front
            of a batch norm. Their gradient is tested to be zero up to rounding, that of all
            others to be more than rounding, so that no processor's rounding decides a test.
    """

    module: type[nn.Module]
    state_keys: set[str]
    in_channels: int = 16
    arguments: dict[str, Any] = {}
    identity_at_init: bool = False
    expected_at_init: Callable[[nn.Module, Tensor], Tensor] | None = None
    parameters: Callable[[int], int] | None = None
    reference: Callable[[nn.Module, Tensor], Tensor] | None = None
    output_is_gated_input: bool = False
    parameters_without_gradient: Set[str] = frozenset()

    def randomize_zero_init(self, module: nn.Module) -> None:
        """Replace weights that start at zero, or at one, by random ones: they would hide errors."""

    def make(self, *, randomized: bool = True) -> nn.Module:
        """Return a module with the same random weights every time, in eval mode.

        Args:
            randomized: Whether to call ``randomize_zero_init``; False leaves the module fresh.
        """
        torch.manual_seed(0)
        module = self.module(self.in_channels, **self.arguments).eval()
        if randomized:
            self.randomize_zero_init(module)
        return module

    def make_identity(self) -> nn.Module:
        """Return a fresh module in the identity form (``init='identity'``), in eval mode."""
        torch.manual_seed(0)
        cfg = {"type": self.module, **self.arguments, "init": "identity"}
        return build_block(cfg, self.in_channels, place="the test")[1].eval()

    def sample(self, height: int = 5, width: int = 7, batch: int = 2, **kwargs) -> Tensor:
        """Return a random input. Shape (batch, in_channels, height, width)."""
        generator = torch.Generator().manual_seed(height * 1000 + width)
        shape = (batch, self.in_channels, height, width)
        return torch.randn(shape, generator=generator, **kwargs)

    def test_builds_as_a_plugin_under_its_class_name(self) -> None:
        cfg = dict(type=f"mmattn.{self.module.__name__}", **self.arguments)
        _, layer = build_plugin_layer(cfg, in_channels=self.in_channels)
        assert type(layer) is self.module

    @pytest.mark.parametrize("name", HOSTS)
    def test_fits_into(self, name: str) -> None:
        """Networks of detectors and segmentors accept the block, call it and train it.

        In the identity form it changes nothing at first: not the names of the network's weights,
        and no bit of its output.
        """
        cfg = {"type": f"mmattn.{self.module.__name__}", **self.arguments, "init": "identity"}
        host = build_host(name, cfg, self.in_channels)
        blocks = {key: part for key, part in host.named_modules() if type(part) is self.module}
        assert len(blocks) >= 2
        load_plain_host(host, name, self.in_channels, blocks)
        host.eval()  # without the layers that are dropped at random
        outputs = outputs_of(host, host_input(name, self.in_channels))
        for output, plain in zip(outputs, plain_outputs(name, self.in_channels), strict=True):
            assert torch.equal(output, plain), "the identity form changes what the network returns"
        host.train()
        for block in blocks.values():
            self.randomize_zero_init(block)
            if RESIDUAL_SCALE in block._parameters:
                torch.nn.init.ones_(block.get_parameter(RESIDUAL_SCALE))
        calls = record_calls(blocks)
        outputs = outputs_of(host, host_input(name, self.in_channels))
        assert calls.keys() == blocks.keys(), "a block is never called"
        for first in blocks:
            second = f"{first}_b"  # at the same position of a slot
            if second in blocks:
                assert calls[second][0] is calls[first][1], "the second does not follow the first"
        sum(output.square().mean() for output in outputs).backward()
        for key, block in blocks.items():
            grads = {name: p.grad for name, p in block.named_parameters()}
            lost = [
                name for name, grad in grads.items() if grad is None or not grad.isfinite().all()
            ]
            assert not lost, f"no finite gradient for {lost} of {key}"
            assert not grads or any(g.any() for g in grads.values()), f"{key} does not learn"

    def test_state_dict_keys_are_frozen(self) -> None:
        assert set(self.make().state_dict()) == self.state_keys

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
    def test_keeps_shape_at_any_size(self, size: tuple[int, int]) -> None:
        x = self.sample(*size)
        y = self.make()(x)
        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert y.isfinite().all()

    @pytest.mark.filterwarnings("ignore")  # torch says that an empty mean has no value
    def test_accepts_an_empty_batch(self) -> None:
        x = self.sample(batch=0).requires_grad_()
        y = self.make()(x)
        assert y.shape == x.shape
        y.sum().backward()

    def test_is_the_identity_at_init(self) -> None:
        if not self.identity_at_init:
            pytest.skip("identity_at_init is False")
        x = self.sample()
        assert torch.equal(self.make(randomized=False)(x), x)

    def test_computes_at_init_what_the_paper_says(self) -> None:
        if self.expected_at_init is None:
            pytest.skip("expected_at_init is not given")
        module, x = self.make(randomized=False), self.sample()
        torch.testing.assert_close(module(x), self.expected_at_init(module, x))

    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    def test_the_identity_form_returns_its_input(self, training: bool) -> None:
        """Bit for bit, in every precision, also after a network has initialised its layers."""
        module, x = _Network(self.make_identity()).train(training), self.sample()
        for initialised in (False, True):
            if initialised:
                module.init_weights()
            assert torch.equal(module.plugin(x), x)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                y = module.plugin(x)
            assert y.dtype == x.dtype and torch.equal(y, x)
        for dtype in (torch.bfloat16, torch.float16):
            half = x.to(dtype)
            assert torch.equal(module.to(dtype).plugin(half), half)

    def test_the_identity_form_loads_weights_of_the_plain_form(self) -> None:
        plain, module, x = self.make(), self.make_identity(), self.sample()
        names = set(module.state_dict())
        assert names - {RESIDUAL_SCALE} == self.state_keys
        if not self.state_keys:
            pytest.skip("without weights, files of the plain form do not tell of the block")
        module.load_state_dict(plain.state_dict())
        assert torch.equal(module(x), plain(x))

    def test_the_identity_form_learns(self) -> None:
        """After a few steps the gradient reaches every parameter; the first moves the scale."""
        module = self.make_identity().double().train()
        optimizer = torch.optim.SGD([*module.parameters()], lr=0.1)
        x = self.sample(dtype=torch.float64)
        target = 2 * x.roll(1, 3)
        for _ in range(3):
            optimizer.zero_grad()
            (module(x) - target).square().mean().backward()
            optimizer.step()
        for name, parameter in module.named_parameters():
            if name not in self.parameters_without_gradient:
                assert parameter.grad is not None and parameter.grad.any(), f"{name} cannot learn"

    def test_a_networks_initialisation_does_not_undo_its_own(self) -> None:
        """mmengine initialises all convolutions and norms of a network, those of plugins too."""
        if not self.identity_at_init and self.expected_at_init is None:
            pytest.skip("neither identity_at_init nor expected_at_init is given")
        plugin = initialised_by_a_network(self.make(randomized=False))
        x = self.sample()
        expected = x if self.identity_at_init else self.expected_at_init(plugin, x)
        torch.testing.assert_close(plugin(x), expected)

    def test_number_of_parameters_is_the_papers(self) -> None:
        if self.parameters is None:
            pytest.skip("parameters is not given")
        for channels in (self.in_channels, 2 * self.in_channels, 8 * self.in_channels):
            module = self.module(channels, **self.arguments)
            assert sum(p.numel() for p in module.parameters()) == self.parameters(channels)

    def test_names_a_wrong_number_of_channels(self) -> None:
        """Also for a block that does not use the number: a wrong config fails at once, by name."""
        name = self.module.__name__
        advice = f"{name}.__init__ must raise ValueError naming in_channels for in_channels < 1"
        for channels in (0, -1):
            try:
                self.module(channels, **self.arguments)
            except ValueError as error:
                assert "in_channels" in str(error), f"{advice}, it says: {error}"
            else:
                pytest.fail(f"{advice}; {name}({channels}) is built")

    def test_does_not_change_its_input(self) -> None:
        x = self.sample()
        before = x.clone()
        self.make()(x)
        assert torch.equal(x, before)

    def test_gradient_reaches_every_parameter_and_the_input(self) -> None:
        """In float64, where a gradient that is zero by mathematics shows: only rounding is left."""
        module = self.make().double().train()
        x = self.sample(dtype=torch.float64).requires_grad_()
        (module(x) ** 2).sum().backward()
        values = {**dict(module.named_parameters()), "input": x}
        for name, value in values.items():
            assert value.grad is not None, f"no gradient for {name}"
            assert value.grad.isfinite().all(), f"gradient of {name} is not finite"
        sizes = {name: value.grad.abs().max().item() for name, value in values.items()}
        # Each gradient is a sum over values of the feature map; each term is rounded.
        rounding = 4 * x.numel() * torch.finfo(torch.float64).eps * max(sizes.values())
        declared = self.parameters_without_gradient
        assert declared <= sizes.keys(), f"no such parameters: {declared - sizes.keys()}"
        for name, size in sizes.items():
            if name in declared:
                assert size <= rounding, f"{name} is declared to have no gradient, but has {size}"
            else:
                advice = "if that is so by mathematics, name it in parameters_without_gradient"
                assert size > rounding, f"gradient of {name} is zero; {advice}"

    def test_matches_the_reference_in_float64(self) -> None:
        if self.reference is None:
            pytest.skip("reference is not given")
        module = self.make().double()
        for size in SIZES:
            x = self.sample(*size, dtype=torch.float64)
            torch.testing.assert_close(module(x), self.reference(module, x), rtol=1e-10, atol=1e-10)

    def test_gradients_in_float64(self) -> None:
        """The gradient with respect to the input equals finite differences."""
        module = self.make().double()
        x = self.sample(3, 4, batch=1, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(module, x, fast_mode=True)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_near_float64(self, dtype: torch.dtype) -> None:
        module, x = self.make().to(dtype), self.sample().to(dtype)
        y = module(x)
        assert y.dtype == dtype
        # The same rounded weights and input, so that only the arithmetic differs.
        expected = copy.deepcopy(module).double()(x.double())
        error = (y.double() - expected).abs().max()
        assert error <= 4 * torch.finfo(dtype).eps * expected.abs().max()

    def test_autocast_is_near_float64(self) -> None:
        module, x = self.make(), self.sample()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = module(x)
        expected = copy.deepcopy(module).double()(x.double())
        error = (y.double() - expected).abs().max()
        assert error <= 4 * torch.finfo(torch.bfloat16).eps * expected.abs().max()

    def test_memory_layout_does_not_matter(self) -> None:
        module, x = self.make(), self.sample()
        expected = module(x)
        wide = self.sample(5, 14)
        wide[..., ::2] = x
        for same in (x.to(memory_format=torch.channels_last), wide[..., ::2]):
            torch.testing.assert_close(module(same), expected, rtol=1e-5, atol=1e-5)
        repeated = x[:1].expand(3, -1, -1, -1)  # one image in memory, three in the batch
        expected = module(repeated.clone())
        torch.testing.assert_close(module(repeated), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("size", SIZES, ids=lambda size: "{}x{}".format(*size))
    def test_attention_maps_fit_the_input(self, size: tuple[int, int]) -> None:
        module, x = self.make(), self.sample(*size)
        n, c, height, width = x.shape
        for name, attention in _attention_maps(module, x).items():
            fits = (
                attention.dim() == 4
                and len(attention) == n
                and attention.shape[2] in (1, height)
                and attention.shape[3] in (1, width)
            )
            assert fits, f"{name}: shape {tuple(attention.shape)} for an input of {tuple(x.shape)}"
            assert attention.dtype in (torch.float32, torch.float64), f"{name}: {attention.dtype}"
            assert ((attention >= 0) & (attention <= 1)).all(), f"{name} leaves [0, 1], or is NaN"
            if self.output_is_gated_input:
                assert attention.shape[1] in (1, c), f"{name}: no gate has {attention.shape[1]}"

    def test_attention_maps_are_what_scales_the_input(self) -> None:
        if not self.output_is_gated_input:
            pytest.skip("output_is_gated_input is False")
        module, x = self.make().double(), self.sample(dtype=torch.float64)
        y = x
        for gate in _attention_maps(module, x).values():
            y = y * gate
        torch.testing.assert_close(module(x), y)

    def test_survives_saving_and_loading(self) -> None:
        module, x = self.make(), self.sample()
        file = io.BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        torch.manual_seed(1)
        other = self.module(self.in_channels, **self.arguments).eval()
        other.load_state_dict(read_weights_stream(file))
        assert torch.equal(other(x), module(x))

    @pytest.mark.slow  # seconds
    def test_compiles_as_one_graph(self) -> None:
        module = self.make()
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager", dynamic=True)
        for size in ((5, 7), (8, 6)):
            x = self.sample(*size)
            torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-5)

    @pytest.mark.slow  # seconds
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
        assert domains <= {"", "ai.onnx"}, f"not only standard operators: {domains}"
        for size in ((5, 7), (3, 2), (9, 16), (1, 4)):
            x = self.sample(*size, batch=1 + size[0] % 4)
            (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            torch.testing.assert_close(torch.from_numpy(y), module(x), rtol=1e-4, atol=1e-4)


def _attention_maps(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    if not hasattr(module, "attention_maps"):
        pytest.skip("the block has no attention_maps")
    maps = module.attention_maps(x)
    assert maps, "attention_maps returns nothing"
    return maps
