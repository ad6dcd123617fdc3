"""The contract of a token mixer: a plugin in which positions meet, with published numbers.

    class TestHiLo(MixerTester):
        module = HiLo
        arguments = {"num_heads": 4}
        state_keys = {...}
        goldens = {"windows of 2": Golden((2, 32, 6, 8), "-0.69 -0.05 …", (102.17, 1035.2, 0.39))}
        costs = [Cost(384, (14, 14), parameters=517_632, macs=83_467_776)]

Adds to ``PluginTester``: golden values and gradients of another implementation, the authors' state
dict, parameters and multiply-accumulates, independence of the images of a batch, gradients of all
weights, initial weights, number of heads. Its tests of compilation and of ONNX are marked ``slow``:
the graphs are large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from .golden import Golden, golden_image, golden_state
from .module_costs import macs, parameters
from .plugin import PluginTester, initialised_by_a_network

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Cost:
    """Published cost of a block for one image.

    Attributes:
        in_channels: Channels of the input.
        size: Height and width of the input.
        parameters: Number of parameters, or None.
        macs: Multiply-accumulates of convolutions and matrix products, or None.
        arguments: Arguments of the module, over those of the tester.
    """

    in_channels: int
    size: tuple[int, int]
    parameters: int | None = None
    macs: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _same(state_dict: StateDict) -> StateDict:
    return dict(state_dict)


class MixerTester(PluginTester):
    """Base class of a token mixer's tests: what ``PluginTester`` tests, and published numbers.

    Attributes:
        goldens: Values of another implementation, by name.
        costs: Published costs.
        to_authors: Function from the block's state dict to the authors' names and shapes, and
            ``from_authors`` back; linear, so that they also map gradients. By default the same.
        heads: Name of the argument that is the number of heads, or None if there is none.
        initial: Standard deviation of fresh weights by name, or a number that all of them are, as
            text: ``{"qkv.weight": 0.02, "qkv.bias": "0"}``. Also tested after a network has
            initialised its layers.
    """

    goldens: Mapping[str, Golden] = {}
    costs: Sequence[Cost] = ()
    to_authors: Callable[[StateDict], StateDict] = staticmethod(_same)
    from_authors: Callable[[StateDict], StateDict] = staticmethod(_same)
    heads: str | None = "num_heads"
    initial: Mapping[str, float | str] = {}

    def build(self, in_channels: int, arguments: Mapping[str, Any]) -> nn.Module:
        """Return a module with ``arguments`` over those of the tester, in eval mode."""
        torch.manual_seed(0)
        return self.module(in_channels, **{**self.arguments, **arguments}).eval()

    def golden_module(self, golden: Golden) -> nn.Module:
        """Return a module whose weights, in the authors' layout, are golden ones."""
        module = self.build(golden.shape[1], golden.arguments)
        theirs = self.to_authors(module.state_dict())
        prefixed = {f"{golden.prefix}{name}": value for name, value in theirs.items()}
        filled = golden_state(prefixed)
        stripped = {name.removeprefix(golden.prefix): value for name, value in filled.items()}
        module.load_state_dict(self.from_authors(stripped), strict=True)
        return module

    def test_golden_values_and_gradients(self) -> None:
        """In float64; the authors' state dict loads strictly."""
        for golden in self.goldens.values():
            module = self.golden_module(golden).double()
            x = golden_image(*golden.shape).double().requires_grad_()
            y = module(x)
            golden.compare(y)
            (y.square().sum() / 2).backward()
            gradients = {
                name: torch.zeros_like(p) if p.grad is None else p.grad
                for name, p in module.named_parameters()
            }
            buffers = dict(module.named_buffers())
            theirs = self.to_authors({**gradients, **buffers})
            assert x.grad is not None
            golden.compare_gradients(theirs, x.grad)

    def test_golden_values_in_single_precision(self) -> None:
        for golden in self.goldens.values():
            module, x = self.golden_module(golden), golden_image(*golden.shape)
            expected = module(x)
            error = (module.double()(x.double()) - expected).abs().max()
            assert error <= 2e-5 * expected.abs().max()

    def test_costs_are_the_published_ones(self) -> None:
        for cost in self.costs:
            with torch.device("meta"):
                module = self.build(cost.in_channels, cost.arguments)
            if cost.parameters is not None:
                assert parameters(module) == cost.parameters
            if cost.macs is not None:
                assert macs(module, 1, cost.in_channels, *cost.size) == cost.macs

    @pytest.mark.parametrize("size", [(1, 7), (11, 13)], ids=["1x7", "11x13"])
    def test_images_of_a_batch_are_independent(self, size: tuple[int, int]) -> None:
        module = self.make().double()
        x = self.sample(*size, batch=3, dtype=torch.float64)
        together = module(x)
        assert together.shape == x.shape
        apart = torch.cat([module(x[:1]), module(x[1:])])
        torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-10)

    def test_gradients_of_all_weights_on_5x7(self) -> None:
        """Those of the input and of every weight equal finite differences."""
        module = self.make().double()
        names = [name for name, _ in module.named_parameters()]

        def run(x: Tensor, *weights: Tensor) -> Tensor:
            named = dict(zip(names, weights, strict=True))
            return torch.func.functional_call(module, named, (x,))

        x = self.sample(5, 7, batch=1, dtype=torch.float64).requires_grad_()
        weights = [p.detach().clone().requires_grad_() for p in module.parameters()]
        assert torch.autograd.gradcheck(run, (x, *weights), fast_mode=True)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_large_inputs_stay_finite(self, dtype: torch.dtype) -> None:
        """Where a softmax chooses one position; forward and backward."""
        module = self.make().to(dtype)
        x = (1000 * self.sample()).to(dtype).requires_grad_()
        y = module(x)
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()

    def test_heads_must_divide_the_channels(self) -> None:
        if self.heads is None:
            pytest.skip("the block has no argument for heads")
        wrong = self.in_channels - 1
        with pytest.raises(ValueError, match=self.heads) as error:
            self.build(self.in_channels, {self.heads: wrong})
        for number in (wrong, self.in_channels):
            assert str(number) in str(error.value)
        with pytest.raises(ValueError, match=self.heads):
            self.build(self.in_channels, {self.heads: 0})

    def test_initial_weights_are_the_authors(self) -> None:
        """Fresh, and after a network has initialised all its layers."""
        if not self.initial:
            pytest.skip("initial is not given")
        fresh = self.build(64, {})
        for module in (fresh, initialised_by_a_network(self.build(64, {}))):
            for name, expected in self.initial.items():
                value = module.get_parameter(name).detach()
                if isinstance(expected, str):
                    assert torch.all(value == float(expected)), f"{name} is not {expected}"
                    continue
                # Four standard deviations of that of a normal distribution.
                slack = 4 / (2 * value.numel()) ** 0.5
                assert value.std().item() == pytest.approx(expected, rel=slack), name
