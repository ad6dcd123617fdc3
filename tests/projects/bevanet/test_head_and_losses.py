"""Promise: the objective is the authors', term by term, and safe where theirs is not."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.losses import BoundaryLoss, OhemCrossEntropy
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.bevanet import AllPixelCrossEntropy, BEVAHead, HardPixelCrossEntropy
from mmattn.registry import MODELS

SIZE = (16, 24)


def logits_of(probabilities: list[float]) -> Tensor:
    """Two classes in a row of pixels; class 0 has these probabilities. Shape (1, 2, 1, W)."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([p.log(), (1 - p).log()])[None, :, None]


def row(*labels: int) -> Tensor:
    return torch.tensor(labels)[None, None]


def test_all_pixels_count_in_the_mean_ignored_ones_as_zero() -> None:
    loss = AllPixelCrossEntropy(class_weight=[2.0, 0.5], loss_weight=0.4)
    got = loss(logits_of([0.9, 0.3, 0.6, 0.5]), row(0, 1, 255, 0))
    expected = -(2 * math.log(0.9) + 0.5 * math.log(0.7) + 0 + 2 * math.log(0.5)) / 4
    assert got.item() == pytest.approx(0.4 * expected)


def test_nothing_divides_by_the_class_weights() -> None:
    """Twice the weights is twice the loss; mmseg's own would stay the same."""
    logits, labels = logits_of([0.9, 0.3]), row(0, 1)
    for kind in (AllPixelCrossEntropy, HardPixelCrossEntropy):
        once = kind(class_weight=[1.0, 3.0])(logits, labels)
        torch.testing.assert_close(kind(class_weight=[2.0, 6.0])(logits, labels), 2 * once)


@pytest.mark.parametrize(
    ("min_kept", "kept"),
    [
        (1, [0.2, 0.6, 0.85]),  # three are below 0.9, more than one: the threshold is 0.9
        (3, [0.2, 0.6, 0.85]),  # the fourth has 0.95: those below it
        (4, [0.2, 0.6, 0.85, 0.95]),
        (100, [0.2, 0.6, 0.85, 0.95]),  # all but the surest
    ],
)
def test_hard_pixels_by_hand(min_kept: int, kept: list[float]) -> None:
    loss = HardPixelCrossEntropy(min_kept=min_kept)
    got = loss(logits_of([0.95, 0.2, 0.5, 0.85, 0.99, 0.6]), row(0, 0, 255, 0, 0, 0))
    assert got.item() == pytest.approx(-sum(map(math.log, kept)) / len(kept))


def test_hard_pixels_are_weighted_but_chosen_by_probability() -> None:
    loss = HardPixelCrossEntropy(min_kept=1, class_weight=[10.0, 1.0])
    got = loss(logits_of([0.5, 0.8]), row(0, 1))  # class 1 has 0.5 and 0.2
    assert got.item() == pytest.approx(-(10 * math.log(0.5) + math.log(0.2)) / 2)


@pytest.mark.parametrize("min_kept", [1, 40, 300, 100_000])
def test_hard_pixels_are_those_of_mmseg(min_kept: int) -> None:
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(2, 5, *SIZE), torch.randint(0, 5, (2, *SIZE))
    labels[:, :3] = 255
    weight = [0.5, 1.0, 1.5, 2.0, 0.8]
    theirs = OhemCrossEntropy(thres=0.9, min_kept=min_kept, class_weight=weight)(logits, labels)
    ours = HardPixelCrossEntropy(min_kept=min_kept, class_weight=weight)(logits, labels)
    torch.testing.assert_close(ours, theirs)


def test_without_labelled_pixels_the_loss_is_zero_and_has_a_gradient() -> None:
    for kind in (AllPixelCrossEntropy, HardPixelCrossEntropy):
        logits = torch.randn(1, 3, 4, 4, requires_grad=True)
        loss = kind()(logits, torch.full((1, 4, 4), 255))
        loss.backward()
        assert loss == 0
        assert not logits.grad.any()


def test_certainty_costs_nothing_instead_of_nan() -> None:
    """No probability is below the last of equal ones: the authors' mean is over nothing, NaN."""
    certain = torch.zeros(1, 2, 4, 4)
    certain[:, 0] = 200.0
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    assert OhemCrossEntropy(thres=0.9)(certain, labels).isnan()
    assert HardPixelCrossEntropy()(certain, labels) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = (4 * torch.randn(2, 7, 64, 64)).to(dtype)
    labels = torch.randint(0, 7, (2, 64, 64))
    for kind in (AllPixelCrossEntropy, HardPixelCrossEntropy):
        loss = kind()(logits, labels)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(
            loss.double(), kind()(logits.double(), labels), rtol=1e-5, atol=0
        )


@pytest.mark.parametrize("certainty", [0.0, 9.0])  # the other pixels are hard, or are not
@pytest.mark.parametrize("min_kept", [1, 1000])
def test_logits_that_are_no_numbers_are_not_hidden(min_kept: int, certainty: float) -> None:
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 0] = certainty
    logits[..., 0] = float("nan")
    loss = HardPixelCrossEntropy(min_kept=min_kept)
    assert loss(logits, torch.zeros(1, 4, 4, dtype=torch.long)).isnan()


def test_boundary_loss_balances_edges_and_the_rest() -> None:
    """Three of four pixels are no edge: an edge weighs 3/4, another pixel 1/4."""
    p = torch.tensor([0.9, 0.3, 0.2, 0.6])
    loss = MODELS.build({"type": "mmseg.BoundaryLoss", "loss_weight": 20.0})
    got = loss(p.logit().view(1, 1, 1, 4), row(1, 0, 0, 0))
    negatives = math.log(0.7) + math.log(0.8) + math.log(0.4)
    expected = -(0.75 * math.log(0.9) + 0.25 * negatives) / 4
    assert got.item() == pytest.approx(20 * expected, rel=1e-5)


def head(**kwargs) -> BEVAHead:
    torch.manual_seed(0)
    return BEVAHead(32, 16, num_classes=4, **kwargs)


def samples(labels: Tensor, edges: Tensor | None) -> list[SegDataSample]:
    result = []
    for index, label in enumerate(labels):
        sample = SegDataSample(gt_sem_seg=PixelData(data=label[None]))
        if edges is not None:
            sample.gt_edge_map = PixelData(data=edges[index][None])
        result.append(sample)
    return result


def batch() -> tuple[list[Tensor], Tensor, Tensor]:
    """Logits of the three heads at 1/8, labels and edges."""
    torch.manual_seed(1)
    logits = [3 * torch.randn(2, c, 2, 3) for c in (4, 4, 1)]
    labels = torch.randint(0, 4, (2, *SIZE))
    labels[0, :2] = 255
    return logits, labels, torch.randint(0, 2, (2, *SIZE))


def test_objective_is_the_sum_of_the_four() -> None:
    logits, labels, edges = batch()
    weight = [0.5, 1.0, 2.0, 1.5]
    losses = head(class_weight=weight).loss_by_feat(logits, samples(labels, edges))
    auxiliary, main, boundary = (
        F.interpolate(x, SIZE, mode="bilinear", align_corners=True) for x in logits
    )
    at_boundary = labels.clone()
    at_boundary[boundary[:, 0].sigmoid() <= 0.8] = 255
    assert 0 < (at_boundary != 255).sum() < (labels != 255).sum()
    hard = HardPixelCrossEntropy(threshold=0.9, min_kept=131072, class_weight=weight)
    expected = {
        "loss_auxiliary": 0.4 * AllPixelCrossEntropy(class_weight=weight)(auxiliary, labels),
        "loss_main": hard(main, labels),
        "loss_boundary": 20 * BoundaryLoss()(boundary, edges),
        "loss_main_at_boundary": hard(main, at_boundary),
    }
    assert set(losses) == {*expected, "acc_seg"}
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, msg=name)
    right = (main.argmax(1) == labels)[labels != 255].double().mean()
    assert losses["acc_seg"].item() == pytest.approx(100 * right.item(), rel=1e-5)


def test_no_pixel_at_a_boundary_costs_nothing() -> None:
    logits, labels, edges = batch()
    logits[2].fill_(-10.0)
    losses = head().loss_by_feat(logits, samples(labels, edges))
    assert losses["loss_main_at_boundary"] == 0


def test_padded_edges_are_no_edges() -> None:
    """mmseg pads edge maps like labels, with 255."""
    logits, labels, edges = batch()
    edges[:, :, -5:] = 255
    clean = torch.where(edges == 255, 0, edges)
    padded = head().loss_by_feat(logits, samples(labels, edges))
    expected = head().loss_by_feat(logits, samples(labels, clean))
    assert padded["loss_boundary"] == expected["loss_boundary"]


def test_missing_edges_name_the_transform() -> None:
    logits, labels, _ = batch()
    with pytest.raises(ValueError, match=r"GenerateEdgeMap.* after LoadAnnotations"):
        head().loss_by_feat(logits, samples(labels, None))


def test_eval_mode_predicts_with_the_main_head_alone() -> None:
    both, lean = head().eval(), head(training_heads=False).eval()
    lean.load_state_dict(both.state_dict(), strict=False)
    maps = [torch.randn(1, c, 4, 5) for c in (16, 32, 16)]
    assert torch.equal(both(maps), lean(maps))
    assert both(maps).shape == (1, 4, 4, 5)
    assert [x.shape[1] for x in both.train()(maps)] == [4, 4, 1]
    with pytest.raises(RuntimeError, match="only predicts"):
        lean.train()(maps)


def test_wrong_losses_are_named() -> None:
    with pytest.raises(ValueError, match=r"loss_decode must be 4 losses .* got 1"):
        head(loss_decode=[{"type": "CrossEntropyLoss"}])
    with pytest.raises(ValueError, match="class_weight is for the default losses"):
        head(loss_decode=[{}] * 4, class_weight=[1.0] * 4)
    with pytest.raises(ValueError, match="class_weight has 2 numbers for 4 classes"):
        AllPixelCrossEntropy(class_weight=[1.0, 2.0])(torch.zeros(1, 4, 1, 1), row(0))
    with pytest.raises(ValueError, match="min_kept must be at least 1"):
        HardPixelCrossEntropy(min_kept=0)


@pytest.mark.parametrize("option", ["in_index", "act_cfg", "conv_cfg", "sampler"])
def test_options_that_would_do_nothing_are_refused(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        head(**{option: None})


def test_one_channel_for_two_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"out_channels must be num_classes \(4\), got 1"):
        head(out_channels=1)


def test_class_weights_follow_the_device_and_stay_out_of_the_state() -> None:
    net = head(class_weight=[1.0, 2.0, 3.0, 4.0])
    assert not [key for key in net.state_dict() if "class_weight" in key]
    assert {buffer.device.type for buffer in net.to("meta").buffers()} == {"meta"}
