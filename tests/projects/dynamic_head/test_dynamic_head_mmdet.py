"""Promise: mmdet's config with one line changed loads mmdet's weights and returns the same.

mmdet's classes run on torchvision's operator here, which shares nothing with ours.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest
import torch
import torchvision
from torch import Tensor, nn

from mmattn.projects.dynamic_head import DynamicHead

UPSTREAM = "mmdet::dyhead/atss_r50_fpn_dyhead_1x_coco.py"
OURS = {"neck.1.type": "mmattn.DynamicHead"}


def by_torchvision(conv, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
    """What mmcv's kernels compute: they read offsets as if they had the size of the output."""
    stride = conv.stride if isinstance(conv.stride, int) else conv.stride[0]
    size = [(side - 1) // stride + 1 for side in x.shape[2:]]
    numbers = size[0] * size[1]
    offset = torch.stack([o.reshape(-1)[: 18 * numbers].view(18, *size) for o in offset])
    mask = torch.stack([m.reshape(-1)[: 9 * numbers].view(9, *size) for m in mask])
    return torchvision.ops.deform_conv2d(
        x, offset, conv.weight, conv.bias, stride, 1, 1, mask.contiguous()
    )


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmdet.models.necks.dyhead import ModulatedDeformConv2d

    import mmattn  # noqa: F401  (mmdet imports mmcv's extension)

    monkeypatch.setattr(ModulatedDeformConv2d, "forward", by_torchvision)


def randomised(neck: nn.Module) -> nn.Module:
    """Offsets of about a pixel, gates and activations that differ from image to image."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in neck.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            spread = 0.03 if parameter.dim() > 1 else 0.3
            parameter.add_(spread * noise) if "norm" in name else parameter.copy_(spread * noise)
            if name.endswith("scale_attn_module.1.bias"):
                parameter.fill_(1.0)  # behind it is a ReLU
    return neck


def neck_of_mmdet(**options) -> nn.Module:
    from mmdet.models.necks import DyHead

    return randomised(DyHead(**options))


@pytest.mark.usefixtures("upstream")
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [(32, 32), (25, 21)])
def test_neck_returns_the_same(
    pyramid: Callable[..., list[Tensor]], size: tuple[int, int], count: int
) -> None:
    theirs = neck_of_mmdet(in_channels=32, out_channels=48, num_blocks=2)
    ours = DynamicHead(in_channels=32, out_channels=48, num_blocks=2)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    levels = pyramid(32, size, count)
    with torch.no_grad():
        for y, expected in zip(ours(levels), theirs(levels), strict=True):
            assert expected.std() > 0.1
            torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("upstream")
def test_gradients_are_the_same(pyramid: Callable[..., list[Tensor]]) -> None:
    """Through the offsets that a coarser level reads in disorder too."""
    theirs = neck_of_mmdet(in_channels=16, out_channels=16, num_blocks=2).double()
    ours = DynamicHead(in_channels=16, out_channels=16, num_blocks=2).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    levels = pyramid(16, (9, 14), 3, dtype=torch.float64)
    gradients = []
    for neck in (theirs, ours):
        leaves = [x.clone().requires_grad_() for x in levels]
        outputs = neck(leaves)
        loss = sum((y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() for y in outputs)
        named = dict(neck.named_parameters())
        found = torch.autograd.grad(loss, [*leaves, *(named[name] for name in sorted(named))])
        gradients.append(found)
    for expected, found in zip(*gradients, strict=True):
        assert expected.abs().max() > 0
        scale = expected.abs().max().item()
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-8 * scale)


@pytest.mark.usefixtures("upstream")
def test_detector_of_mmdet_s_config_with_one_line_changed(build: Callable[..., nn.Module]) -> None:
    theirs = build(UPSTREAM).eval()
    randomised(theirs.neck[1])
    ours = build(UPSTREAM, **OURS).eval()
    assert isinstance(ours.neck[1], DynamicHead)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, 128, 160, generator=generator)
    with torch.no_grad():
        outputs = ours.bbox_head(ours.extract_feat(images))
        expected = theirs.bbox_head(theirs.extract_feat(images))
    for level, wanted in zip(chain(*outputs), chain(*expected), strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"zero_init_offset": False}])
def test_initial_weights_are_of_mmdet_s_distribution(options: dict) -> None:
    from mmdet.models.necks import DyHead

    torch.manual_seed(0)
    theirs = dict(DyHead(64, 64, 1, **options).named_parameters())
    for name, ours in DynamicHead(64, 64, 1, **options).named_parameters():
        if ours.dim() == 1:
            assert torch.equal(ours, theirs[name])
            continue
        spread, expected = ours.std().item(), theirs[name].std().item()
        assert spread == pytest.approx(expected, rel=0.3), name
        assert abs(ours.mean().item()) <= 0.3 * expected, name
