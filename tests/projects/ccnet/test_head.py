"""Promise: the head takes mmseg's weights and gives mmseg's output, and every part of it learns."""

from __future__ import annotations

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import CCHead as MMSegCCHead
from mmseg.structures import SegDataSample
from torch import nn

from mmattn.projects.ccnet import CCHead, DeepSupervisionHead
from mmattn.registry import MODELS

SMALL = {"in_channels": 24, "channels": 16, "num_classes": 5, "norm_cfg": {"type": "BN"}}
FULL = {"in_channels": 2048, "channels": 512, "num_classes": 19, "norm_cfg": {"type": "BN"}}


def randomised(head: nn.Module) -> nn.Module:
    """Weights and running statistics that hide nothing."""
    torch.manual_seed(0)
    for name, value in head.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.normal_(std=0.3)
    return head


def samples(size: tuple[int, int] = (16, 24), count: int = 2) -> list[SegDataSample]:
    torch.manual_seed(1)
    labels = torch.randint(0, 5, (count, 1, *size))
    return [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]


@pytest.mark.parametrize("recurrence", [1, 2])
@pytest.mark.parametrize("concat_input", [True, False])
def test_weights_of_mmseg_give_mmsegs_output(recurrence: int, concat_input: bool) -> None:
    options = {**SMALL, "recurrence": recurrence, "concat_input": concat_input}
    theirs = randomised(MMSegCCHead(**options)).eval()
    ours = CCHead(**options).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    features = [torch.randn(2, 24, 5, 7)]
    expected = theirs(features)
    torch.testing.assert_close(ours(features), expected, rtol=1e-5, atol=1e-5)
    ours.cca.recurrence = 0
    assert not torch.allclose(ours(features), expected, atol=1e-2), "attention made no difference"


def test_state_dict_keys_are_frozen() -> None:
    theirs = set(MMSegCCHead(**SMALL).state_dict())
    assert set(CCHead(**SMALL).state_dict()) == theirs - {"cca.gamma.scale"} | {"cca.gamma"}


def test_parameters_are_the_papers() -> None:
    def count(head: nn.Module) -> int:
        return sum(p.numel() for p in head.parameters())

    with torch.device("meta"):
        assert count(CCHead(**FULL)) == 23_934_100
        auxiliary = DeepSupervisionHead(**{**FULL, "in_channels": 1024})
        assert count(auxiliary) == 4_729_875
    assert auxiliary.convs[0].conv.bias.shape == (512,)


def test_activation_is_a_choice_for_every_convolution() -> None:
    head = CCHead(**SMALL, act_cfg={"type": "LeakyReLU", "negative_slope": 0.01})
    activations = [m for m in head.modules() if isinstance(m, (nn.ReLU, nn.LeakyReLU))]
    assert len(activations) == 3
    assert all(isinstance(m, nn.LeakyReLU) and m.negative_slope == 0.01 for m in activations)


@pytest.mark.parametrize("loss_category", [None, {"type": "mmattn.CategoryConsistentLoss"}])
def test_every_parameter_gets_a_gradient(loss_category: dict | None) -> None:
    """Otherwise DistributedDataParallel stops at the second step."""
    head = MODELS.build(
        {"type": "mmattn.CCHead", **SMALL, "loss_category": loss_category, "category_channels": 4}
    )
    nn.init.ones_(head.cca.gamma)
    losses = head.loss([torch.randn(2, 24, 5, 7)], samples(), None)
    assert ("loss_category" in losses) == (loss_category is not None)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_category_loss_sees_the_attended_features_and_leaves_prediction_alone() -> None:
    torch.manual_seed(0)
    plain = CCHead(**SMALL).eval()
    consistent = CCHead(**SMALL, loss_category={"type": "mmattn.CategoryConsistentLoss"}).eval()
    report = consistent.load_state_dict(plain.state_dict(), strict=False)
    assert report.missing_keys == ["category_conv.weight", "category_conv.bias"]
    features = [torch.randn(2, 24, 5, 7)]
    assert torch.equal(plain(features), consistent(features))
    losses = consistent.loss(features, samples(), None)
    expected = plain.loss(features, samples(), None)
    assert torch.equal(losses["loss_ce"], expected["loss_ce"])
    reduced = consistent.category_conv(consistent.cca(consistent.convs[0](features[0])))
    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in samples()])
    assert torch.equal(losses["loss_category"], consistent.loss_category(reduced, labels))


def test_ignored_label_reaches_the_category_loss() -> None:
    head = CCHead(
        **SMALL, ignore_index=3, loss_category={"type": "mmattn.CategoryConsistentLoss"}
    ).eval()
    batch = samples()
    for sample in batch:
        sample.gt_sem_seg.data.fill_(3)
    assert head.loss([torch.randn(2, 24, 5, 7)], batch, None)["loss_category"] == 0
