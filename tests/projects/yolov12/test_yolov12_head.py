"""Promise: the head predicts and learns as the authors' does, with mmdet's interface."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from torch import Tensor

from mmattn.errors import ConfigError, DataError
from mmattn.layers.detection import TaskAlignedLoss
from mmattn.projects.yolov12 import YOLOv12Head

TEST_CFG = {
    "score_thr": 0.001,
    "nms_pre": 30_000,
    "nms": {"type": "nms", "iou_threshold": 0.7},
    "max_per_img": 300,
}


def make(num_classes: int = 3, **options: Any) -> YOLOv12Head:
    torch.manual_seed(0)
    return YOLOv12Head(num_classes, (8, 16, 16), **{"test_cfg": TEST_CFG, **options})


def sample(boxes: list[list[float]], labels: list[int], wrapped: bool = False) -> DetDataSample:
    found = DetDataSample(metainfo={"img_shape": (64, 96), "scale_factor": (0.5, 0.25)})
    places = torch.tensor(boxes).view(-1, 4)
    found.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(places) if wrapped else places,
        labels=torch.tensor(labels, dtype=torch.long),
    )
    return found


def maps(batch: int = 1) -> list[Tensor]:
    """Feature maps of images of 64 x 96."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(batch, 8, 8, 12), (batch, 16, 4, 6), (batch, 16, 2, 3)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def raw(fill: float = -20.0) -> tuple[list[Tensor], list[Tensor]]:
    """Raw predictions of nothing, for 64 x 96 and three classes, with boxes of 2 x 7.5 strides."""
    cls_scores = [torch.full((1, 3, 8 // s, 12 // s), fill) for s in (1, 2, 4)]
    box_logits = [torch.zeros(1, 64, 8 // s, 12 // s) for s in (1, 2, 4)]
    return cls_scores, box_logits


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def put(box_logits: Tensor, row: int, column: int, distances: tuple[int, ...]) -> None:
    """Make the distances to left, top, right and bottom whole numbers of strides."""
    for side, distance in enumerate(distances):
        box_logits[0, 16 * side + distance, row, column] = 50.0


def predict(
    head: YOLOv12Head, outs: tuple, meta: dict | None = None, **options: Any
) -> InstanceData:
    meta = {"img_shape": (64, 96), "scale_factor": (0.5, 0.25), **(meta or {})}
    (found,) = head.predict_by_feat(*outs, batch_img_metas=[meta], **options)
    return found


def test_shapes_and_widths_of_the_branches() -> None:
    head = make(num_classes=3)
    cls_scores, box_logits = head([x.expand(2, -1, -1, -1) for x in maps()])
    assert [tuple(x.shape) for x in cls_scores] == [(2, 3, 8, 12), (2, 3, 4, 6), (2, 3, 2, 3)]
    assert [tuple(x.shape) for x in box_logits] == [(2, 64, 8, 12), (2, 64, 4, 6), (2, 64, 2, 3)]
    # max(16, first / 4, 64), and max(first, min(classes, 100)).
    for classes, first, boxes, scores in ((80, 64, 64, 80), (80, 384, 96, 384), (365, 64, 64, 100)):
        with torch.device("meta"):
            head = YOLOv12Head(classes, (first, 512, 512))
        assert head.box_branches[0][0].conv.out_channels == boxes
        assert head.class_branches[0][0][1].conv.out_channels == scores


@pytest.mark.parametrize("initialise", [False, True])
def test_initial_biases(initialise: bool) -> None:
    head = make(num_classes=80)
    if initialise:
        head.init_weights()
    for stride, boxes, classes in zip(
        (8, 16, 32), head.box_branches, head.class_branches, strict=True
    ):
        assert torch.equal(boxes[2].bias, torch.ones(64))
        expected = math.log(5 / 80 / (640 / stride) ** 2)
        torch.testing.assert_close(classes[2].bias, torch.full((80,), expected))


def test_biases_of_a_file_are_kept(tmp_path: Path) -> None:
    """``init_cfg=dict(type='Pretrained')`` loads them, and they are learnt values."""
    trained = make()
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "head.pth")
    loads = {"type": "Pretrained", "checkpoint": str(tmp_path / "head.pth")}
    head = make(init_cfg=loads)
    head.init_weights()
    for name, value in trained.state_dict().items():
        assert torch.equal(head.state_dict()[name], value), name


def test_decodes_from_the_centres_of_cells() -> None:
    """Uniform bins have a mean of 7.5; a cell's centre is half a stride inside."""
    outs = raw()
    put(outs[1][1], 2, 3, (1, 2, 3, 4))
    scores, boxes = make().decode(*outs)
    assert scores.shape == (1, 96 + 24 + 6, 3)
    assert boxes[0, 0].tolist() == [4 - 60, 4 - 60, 4 + 60, 4 + 60]
    assert boxes[0, -1].tolist() == [80 - 240, 48 - 240, 80 + 240, 48 + 240]
    place = 96 + 2 * 6 + 3
    expected = [56 - 16, 40 - 32, 56 + 48, 40 + 64]
    torch.testing.assert_close(boxes[0, place], torch.tensor(expected, dtype=torch.float))


def test_decodes_in_float32_at_least() -> None:
    outs = tuple([x.half() for x in level] for level in raw())
    assert {x.dtype for x in make().decode(*outs)} == {torch.float32}


def test_prediction_is_clipped_and_scaled_back() -> None:
    outs = raw()
    put(outs[1][1], 2, 3, (1, 2, 3, 4))
    outs[0][1][0, 1, 2, 3] = logit(0.9)
    found = predict(make(), outs)
    assert found.bboxes.tolist() == [[40, 8, 96, 64]]
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.9])
    found = predict(make(), outs, rescale=True)  # width was halved, height quartered
    assert found.bboxes.tolist() == [[80, 32, 192, 256]]
    # An image of 160 x 240, padded after it was scaled.
    found = predict(make(), outs, {"ori_shape": (240, 160)}, rescale=True)
    assert found.bboxes.tolist() == [[80, 32, 160, 240]]


def test_overlaps_are_those_of_boxes_before_they_are_clipped() -> None:
    """Two that end at the image's side count as what they are."""
    outs = raw()
    for column, distances in ((10, (2, 1, 9, 1)), (11, (3, 1, 1, 1))):
        put(outs[1][0], 4, column, distances)
        outs[0][0][0, 0, 4, column] = logit(0.5 + column / 100)
    found = predict(make(), outs)
    assert len(found) == 2
    assert torch.equal(found.bboxes[0], found.bboxes[1])


def overlapping() -> tuple[list[Tensor], list[Tensor]]:
    """Two boxes, one inside the other, that overlap by 0.8: 32 x 40 and 32 x 32 pixels."""
    outs = raw()
    put(outs[1][0], 4, 4, (2, 2, 2, 3))
    put(outs[1][0], 4, 5, (3, 2, 1, 2))
    outs[1][0][0, 16 * 3 + 2, 4, 5] = 50.0
    outs[0][0][0, 0, 4, 4] = logit(0.8)
    outs[0][0][0, 0, 4, 5] = logit(0.6)
    return outs


def test_the_better_of_overlapping_boxes_of_a_class_is_kept() -> None:
    found = predict(make(), overlapping())
    assert found.scores.tolist() == pytest.approx([0.8])
    lenient = {**TEST_CFG, "nms": {"type": "nms", "iou_threshold": 0.95}}
    assert len(predict(make(test_cfg=lenient), overlapping())) == 2
    assert len(predict(make(), overlapping(), with_nms=False)) == 2


def test_boxes_of_other_classes_do_not_count_as_overlapping() -> None:
    outs = overlapping()
    outs[0][0][0, 0, 4, 5] = -20.0
    outs[0][0][0, 2, 4, 5] = logit(0.6)
    assert predict(make(), outs).labels.tolist() == [0, 2]


def test_a_cell_may_have_several_classes() -> None:
    outs = raw()
    outs[0][2][0, :, 1, 1] = torch.tensor([logit(0.3), logit(0.5), logit(0.0005)])
    found = predict(make(), outs)
    assert found.labels.tolist() == [1, 0], "above 0.001, best first"
    found = predict(make(test_cfg={**TEST_CFG, "multi_label": False}), outs)
    assert found.labels.tolist() == [1]


def test_numbers_of_boxes_are_limited() -> None:
    cls_scores, box_logits = raw(fill=0.0)
    for level in box_logits:
        level[:, ::16] = 50.0  # distances of 0: nothing overlaps
    cfg = {**TEST_CFG, "max_per_img": 50}
    assert len(predict(make(test_cfg=cfg), (cls_scores, box_logits))) == 50
    cfg = {**TEST_CFG, "nms_pre": 20}
    assert len(predict(make(test_cfg=cfg), (cls_scores, box_logits))) == 20
    assert len(predict(make(test_cfg=cfg), raw())) == 0
    cfg = {**TEST_CFG, "min_bbox_size": 1}
    assert len(predict(make(test_cfg=cfg), (cls_scores, box_logits))) == 0


@pytest.mark.parametrize("wrapped", [False, True])
def test_loss_is_that_of_the_padded_boxes(wrapped: bool) -> None:
    head = make(loss_cfg={"topk": 5})
    samples = [
        sample([[8, 8, 40, 40]], [2], wrapped),
        sample([], [], wrapped),
        sample([[0, 0, 20, 30], [50, 10, 90, 60]], [0, 1], wrapped),
    ]
    x = maps(batch=3)
    got = head.loss(x, samples)
    boxes = torch.zeros(3, 2, 4)
    boxes[0, 0] = torch.tensor([8.0, 8, 40, 40])
    boxes[2] = torch.tensor([[0.0, 0, 20, 30], [50, 10, 90, 60]])
    labels = torch.tensor([[2, 0], [0, 0], [0, 1]])
    valid = torch.tensor([[True, False], [False, False], [True, True]])
    expected = TaskAlignedLoss(3, (8, 16, 32), topk=5)(*head(x), boxes, labels, valid)
    assert got.keys() == expected.keys() == {"loss_cls", "loss_bbox", "loss_dfl"}
    for name, value in got.items():
        torch.testing.assert_close(value, expected[name])
    assert got["loss_bbox"] > 0


@pytest.mark.parametrize("samples", [[sample([], [])], [sample([[8, 8, 40, 40]], [2])]])
def test_every_parameter_gets_a_gradient(samples: list) -> None:
    """Also where an image has no box; DistributedDataParallel waits for all of them."""
    head = make().train()
    x = [level.expand(2, -1, -1, -1).clone() for level in maps()]
    sum(head.loss(x, samples * 2).values()).backward()
    assert not [name for name, p in head.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_ignored_instances_take_no_part() -> None:
    with_crowd = sample([[8, 8, 40, 40]], [2])
    with_crowd.ignored_instances = InstanceData(bboxes=torch.tensor([[0.0, 0, 90, 60]]))
    head = make().eval()
    got, expected = (head.loss(maps(), [s]) for s in (with_crowd, sample([[8, 8, 40, 40]], [2])))
    assert got == expected


def test_label_beyond_the_classes_is_an_error() -> None:
    with pytest.raises(DataError, match="label"):
        make().loss(maps(), [sample([[8, 8, 40, 40]], [3])])


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match=r"test_cfg has no entry 'score_thrs'.*Did you mean"):
        make(test_cfg={"score_thrs": 0.1})
    with pytest.raises(ConfigError, match="train_cfg has no entries here"):
        make(train_cfg={"assigner": {}})
    with pytest.raises(ConfigError, match=r"loss_cfg does not fit TaskAlignedLoss.*top_k"):
        make(loss_cfg={"top_k": 3})
    with pytest.raises(ConfigError, match="one number per level"):
        YOLOv12Head(3, (8, 16))
    with pytest.raises(ValueError, match="3 levels, got 2 feature maps"):
        make()(maps()[:2])
    with pytest.raises(ConfigError, match="test_cfg is needed to predict"):
        predict(make(test_cfg=None), raw())


@pytest.mark.filterwarnings("ignore")  # mmdet's own
def test_the_detector_trains_and_predicts(build) -> None:
    """The sum of losses falls on an image that is seen again and again."""
    torch.manual_seed(0)
    model = build("n", bbox_head__num_classes=3, bbox_head__loss_cfg={"scale_by_batch": False})
    images = torch.rand(2, 3, 64, 96)
    samples = [sample([[8, 8, 40, 40]], [2]), sample([[0, 0, 20, 30], [50, 10, 90, 60]], [0, 1])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    history = []
    for _ in range(8):
        loss, _ = model.parse_losses(model(images, samples, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.7 * history[0]
    model.eval()
    with torch.no_grad():
        found = model(images, samples, mode="predict")
    assert all(len(f.pred_instances) <= 300 for f in found)
    assert all({"bboxes", "scores", "labels"} <= set(f.pred_instances.keys()) for f in found)
