"""Promise: the branches are fused as in the paper, and any image from 64 x 64 on can be trained."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn import functional as F

from mmattn.layers.fuse import fuse
from mmattn.projects.bevanet import BEVANet, BEVANetClassifier, MixedCrossEntropy
from mmattn.projects.bevanet.context import DLKPPM
from mmattn.projects.bevanet.conv_blocks import build_norm
from mmattn.projects.bevanet.fusion import BGAF, SemanticGuide

# 1080 x 1920 is run at the width of the paper, on the meta device.
SIZES = [(64, 64), (136, 260), (200, 333), (65, 127)]


def train_step(model: nn.Module, batch: int, size: tuple[int, int]) -> dict:
    """One forward and backward pass on noise."""
    torch.manual_seed(0)
    classes = model.decode_head.num_classes
    samples = []
    for _ in range(batch):
        labels = torch.randint(0, classes, (1, *size))
        edges = torch.randint(0, 2, (1, *size))
        samples.append(
            SegDataSample(gt_sem_seg=PixelData(data=labels), gt_edge_map=PixelData(data=edges))
        )
    losses = model.train().loss(torch.randn(batch, 3, *size), samples)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    return losses


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
def test_any_size_passes(golden_narrow, size: tuple[int, int]) -> None:
    with torch.no_grad():
        maps = golden_narrow.backbone(torch.randn(1, 3, *size))
        logits = golden_narrow.decode_head(maps)
    eighth = tuple(math.ceil(side / 8) for side in size)
    assert [m.shape[1] for m in maps] == [16, 32, 16]
    assert all(m.shape[2:] == eighth for m in maps)
    assert logits.shape == (1, 5, *eighth)
    assert logits.isfinite().all()


def test_full_hd_passes_at_full_width(build) -> None:
    with torch.device("meta"):
        assert build("S").eval()(torch.empty(1, 3, 1080, 1920)).shape == (1, 19, 135, 240)


@pytest.mark.parametrize("size", [(64, 64), (136, 260)], ids="{0[0]}x{0[1]}".format)
def test_one_image_trains(build_narrow, size: tuple[int, int]) -> None:
    """Channel gates see one value per channel; at 64 x 64 so does all of the last stage."""
    model = build_narrow()
    losses = train_step(model, 1, size)
    assert all(value.isfinite().all() for value in losses.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    train_step(model, 1, size)


@pytest.mark.parametrize("fused", [False, True], ids=["as trained", "fused"])
def test_half_precision_is_near(golden_narrow, image, fused: bool) -> None:
    """Mixed and pure; layer norms answer in float32 under autocast, convolutions do not."""
    model, x = fuse(golden_narrow) if fused else golden_narrow, image(1, 3, 136, 200)
    with torch.no_grad():
        expected = golden_narrow(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(x)
        pure = copy.deepcopy(model).bfloat16()(x.bfloat16())
    for got in (mixed, pure):
        assert got.dtype == torch.bfloat16
        assert (got.float() - expected).abs().mean() < 0.03 * expected.abs().mean()


def test_trains_under_autocast(build_narrow) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = train_step(build_narrow(), 2, (64, 96))
    assert all(value.isfinite().all() for value in losses.values())


def test_a_single_value_keeps_the_running_statistics() -> None:
    norm = build_norm(None, 4).train()
    norm.running_mean.fill_(2.0)
    x = torch.randn(1, 4, 1, 1)
    torch.testing.assert_close(norm(x), (x - 2) / (1 + norm.eps) ** 0.5)
    assert (norm.running_mean == 2).all()
    norm(torch.randn(2, 4, 1, 1))
    assert (norm.running_mean != 2).all()


@pytest.mark.parametrize("train", [True, False])
def test_elsewhere_the_norm_is_torchs(train: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = build_norm({"type": "BN"}, 4).train(train), nn.BatchNorm2d(4).train(train)
    for x in torch.randn(3, 2, 4, 5, 6):
        assert torch.equal(ours(x), theirs(x))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert torch.equal(ours.running_var, theirs.running_var)


def test_auxiliary_map_has_passed_a_relu(golden_small, image) -> None:
    """The authors' ReLU overwrites it before their head reads it; the boundary's map has none."""
    with torch.no_grad():
        auxiliary, _, boundary = golden_small.backbone(image(1, 3, 64, 128))
    assert auxiliary.min() == 0
    assert boundary.min() < 0


def test_guide_with_equal_maps_is_the_identity() -> None:
    guide = SemanticGuide(8, 8, 4).eval()
    nn.init.zeros_(guide.compress.conv.weight)
    nn.init.eye_(guide.compress.conv.weight[:, :, 0, 0])
    guide.compress.norm.running_var.fill_(1 - guide.compress.norm.eps)
    x = torch.randn(2, 8, 5, 7)
    torch.testing.assert_close(guide(x, x), x)


def test_guide_takes_the_semantic_map_where_they_agree() -> None:
    torch.manual_seed(0)
    guide = SemanticGuide(8, 12, 4).eval()
    detail, semantic = torch.randn(2, 8, 6, 10), torch.randn(2, 12, 3, 5)
    pulled = guide.compress(semantic)
    agree = guide.embed_detail(detail) * F.interpolate(
        guide.embed_semantic(pulled), (6, 10), mode="bilinear"
    )
    share = agree.sum(1, keepdim=True).sigmoid()
    expected = (1 - share) * detail + share * F.interpolate(pulled, (6, 10), mode="bilinear")
    torch.testing.assert_close(guide(detail, semantic), expected)


@pytest.mark.parametrize(
    ("boundary", "weights"), [(60.0, (2, 1)), (-60.0, (1, 2)), (0, (1.5, 1.5))]
)
def test_fusion_prefers_detail_at_boundaries(boundary: float, weights) -> None:
    torch.manual_seed(0)
    fusion = BGAF(8).eval()
    detail, semantic = torch.randn(2, 2, 8, 6, 6)
    mixed = weights[0] * fusion.detail(detail) + weights[1] * fusion.semantic(semantic)
    got = fusion(detail, semantic, torch.full_like(detail, boundary))
    torch.testing.assert_close(got, fusion.out(mixed))


def test_pyramid_pools_what_it_says() -> None:
    """Against the branches written out, with the padding counted in."""
    torch.manual_seed(0)
    context = DLKPPM(24, 8, 12, layer_scale=0.5).eval()
    x = torch.randn(2, 24, 9, 13)

    def up(y):
        return F.interpolate(y, (9, 13), mode="bilinear", align_corners=False)

    padded5, padded9 = F.pad(x, (2, 2, 2, 2)), F.pad(x, (4, 4, 4, 4))
    pooled5 = padded5.unfold(2, 5, 2).unfold(3, 5, 2).mean((-1, -2))
    pooled9 = padded9.unfold(2, 9, 4).unfold(3, 9, 4).mean((-1, -2))
    y0 = context.identity(x)
    y1 = context.process[0](up(context.pool5(pooled5)) + y0)
    y2 = context.process[1](up(context.pool9(pooled9)) + y1)
    y3 = context.process[2](context.attention(y0) + y2)
    y4 = context.process[3](up(context.mean2(F.adaptive_avg_pool2d(x, 2))) + y3)
    y5 = context.process[4](up(context.mean1(x.mean((2, 3), keepdim=True))) + y4)
    expected = context.compress(torch.cat([y0, y1, y2, y3, y4, y5], 1)) + context.shortcut(x)
    torch.testing.assert_close(context(x), expected)
    assert [process.conv.dilation[0] for process in context.process] == [2, 2, 1, 1, 1]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"num_blocks must be three numbers.*\(2, 2\)"):
        BEVANet(channels=8, num_blocks=(2, 2))
    with pytest.raises(ValueError, match=r"kernel_size must be one of .* got 21"):
        BEVANet(channels=8, detail_kernel=21)
    with pytest.raises(ValueError, match="norm_cfg must be a batch norm"):
        BEVANet(channels=8, norm_cfg={"type": "GN", "num_groups": 2})


def test_norm_of_the_config_reaches_every_norm() -> None:
    net = BEVANet(channels=8, norm_cfg={"type": "SyncBN", "momentum": 0.3, "requires_grad": True})
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {type(m).__name__ for m in norms} == {"SyncBatchNorm"}
    assert {m.momentum for m in norms} == {0.3}


def test_classifier_trains_on_mixed_images() -> None:
    torch.manual_seed(0)
    model = BEVANetClassifier(channels=8, num_blocks=(1, 1, 1), num_classes=7, hidden_channels=32)
    logits = model.train()(torch.randn(2, 3, 64, 96))
    loss = MixedCrossEntropy()(logits, torch.tensor([0, 3]), torch.tensor([3, 6]), share=0.25)
    log_p = logits.log_softmax(1)
    expected = -(0.25 * (log_p[0, 0] + log_p[1, 3]) + 0.75 * (log_p[0, 3] + log_p[1, 6])) / 2
    torch.testing.assert_close(loss, expected)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    plain = MixedCrossEntropy()(logits, torch.tensor([0, 3]))
    torch.testing.assert_close(plain, -(log_p[0, 0] + log_p[1, 3]) / 2)
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\]"):
        MixedCrossEntropy()(logits, torch.tensor([0, 3]), share=0.5)
