"""Promise: the fused model computes what the network computes, with fewer steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmattn.layers.fuse import fuse
from mmattn.projects.bevanet import BEVANetClassifier, EVABlock


def norms(model: nn.Module) -> list[str]:
    kind = nn.modules.batchnorm._BatchNorm
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


@pytest.mark.parametrize("size", [(64, 64), (136, 260), (200, 333)], ids="{0[0]}x{0[1]}".format)
def test_logits_are_those_of_the_network(golden_narrow, image, size) -> None:
    form, x = fuse(golden_narrow), image(2, 3, *size)
    with torch.no_grad():
        expected, got = golden_narrow(x), form(x)
    assert expected.std() > 0.05
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_logits_at_the_size_of_the_paper(golden_small, image) -> None:
    form, x = fuse(golden_small), image(1, 3, 128, 256)
    with torch.no_grad():
        torch.testing.assert_close(form(x), golden_small(x), rtol=0, atol=1e-4)
        for got, expected in zip(form.backbone(x), golden_small.backbone(x), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_float64_shows_that_the_folds_are_exact(golden_narrow, image) -> None:
    import copy

    exact, x = copy.deepcopy(golden_narrow).double(), image(1, 3, 136, 200).double()
    with torch.no_grad():
        torch.testing.assert_close(fuse(exact)(x), exact(x), rtol=0, atol=1e-10)


def test_few_norms_are_left(golden_narrow) -> None:
    """Norms are left only where their input is used elsewhere: in the pyramid and the head."""
    form = fuse(golden_narrow)
    left = norms(form)
    assert all(
        name.startswith("backbone.context.") or name == "decode_head.main.conv.norm"
        for name in left
    )
    assert len(left) == 13
    assert len(norms(golden_narrow)) > 90


def test_heads_for_training_are_gone(golden_narrow) -> None:
    form = fuse(golden_narrow)
    assert not [name for name, _ in form.decode_head.named_modules() if "auxiliary" in name]
    assert not any(parameter.requires_grad for parameter in form.parameters())


def test_the_network_itself_stays(golden_narrow) -> None:
    before = {key: value.clone() for key, value in golden_narrow.state_dict().items()}
    fuse(golden_narrow)
    after = golden_narrow.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_fewer_products_and_fewer_calls(golden_narrow) -> None:
    class Calls(torch.utils._python_dispatch.TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.number = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.number += 1
            return func(*args, **(kwargs or {}))

    def measure(model: nn.Module) -> tuple[int, int]:
        x = torch.zeros(1, 3, 64, 64)
        with torch.no_grad(), FlopCounterMode(display=False) as counter, Calls() as calls:
            model(x)
        return counter.get_total_flops(), calls.number

    flops, calls = measure(golden_narrow)
    fused_flops, fused_calls = measure(fuse(golden_narrow))
    assert fused_flops < flops
    assert fused_calls < 0.8 * calls


def test_a_hooked_block_keeps_its_place(golden_narrow, image) -> None:
    """As blocks of WithPlugins do: what is around them is not folded across them."""
    seen = []
    block = golden_narrow.backbone.fusion.detail
    handle = block.register_forward_hook(lambda module, args, output: seen.append(1) or 2 * output)
    x = image(1, 3, 64, 96)
    try:
        with torch.no_grad():
            expected = golden_narrow(x)
            got = fuse(golden_narrow)(x)
    finally:
        handle.remove()
    assert len(seen) == 2
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(golden_narrow(x), expected, atol=1e-3)


def test_block_and_classifier_have_their_form_too() -> None:
    torch.manual_seed(0)
    block = EVABlock(16, kernel_size=23, layer_scale=0.5)
    classifier = BEVANetClassifier(channels=8, num_classes=7, hidden_channels=32)
    for model, shape in ((block, (2, 16, 9, 12)), (classifier, (2, 3, 64, 96))):
        x = torch.randn(shape)
        model.train()(x)  # statistics that are not those of a fresh norm
        form = fuse(model.eval())
        with torch.no_grad():
            torch.testing.assert_close(form(x), model(x), rtol=1e-4, atol=1e-5)
        assert not norms(form)
