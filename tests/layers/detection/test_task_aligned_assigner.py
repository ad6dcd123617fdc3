"""The assignment of a batch equals loops over images, boxes and points, and fits in memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn.errors import DataError
from mmattn.layers.detection import TaskAlignedAssigner, anchor_points, complete_iou
from mmattn.layers.detection.task_aligned_assigner import Assignment
from tests.support.plain_assigner import plain_assign

CLASSES = 3
SHAPES, STRIDES = [(8, 10), (4, 5), (2, 3)], [8, 16, 32]


class Batch:
    """Random images in float64, so that loops and vectors round no decision differently."""

    def __init__(self, seed: int, images: int = 3, boxes: int = 6, near: float = 10.0) -> None:
        self.random = torch.Generator().manual_seed(seed)
        self.points, _ = anchor_points(SHAPES, STRIDES, dtype=torch.float64)
        count = len(self.points)
        self.gt_boxes = self.some_boxes(images, boxes)
        self.gt_labels = torch.randint(0, CLASSES, (images, boxes), generator=self.random)
        self.gt_valid = torch.rand(images, boxes, generator=self.random) < 0.8
        self.logits = 3 * torch.randn(
            images, CLASSES, count, generator=self.random, dtype=torch.float64
        )
        self.boxes = self.some_boxes(images, count)
        if boxes:  # most predictions are near a box, as after some training
            which = torch.randint(0, boxes, (images, count), generator=self.random)
            target = self.gt_boxes.gather(1, which[..., None].expand(-1, -1, 4))
            noise = near * torch.randn(images, count, 4, generator=self.random, dtype=torch.float64)
            moved = target + noise
            corners = moved.unflatten(2, (2, 2))
            moved = torch.cat((corners.amin(2), corners.amax(2)), dim=2)
            use = torch.rand(images, count, 1, generator=self.random) < 0.8
            self.boxes = torch.where(use, moved, self.boxes)

    def some_boxes(self, images: int, count: int) -> Tensor:
        x = torch.rand(images, count, 2, generator=self.random, dtype=torch.float64) * 80
        y = torch.rand(images, count, 2, generator=self.random, dtype=torch.float64) * 64
        corners = torch.stack((x, y), dim=-1)
        return torch.cat((corners.amin(2), corners.amax(2)), dim=2)

    def assign(self, **options: float) -> Assignment:
        return TaskAlignedAssigner(**options)(  # pyright: ignore[reportArgumentType]
            self.logits, self.boxes, self.points, self.gt_boxes, self.gt_labels, self.gt_valid
        )

    def assert_plain(self, **options: float) -> int:
        """Compare with the loops, and return how many points were assigned."""
        found = self.assign(**options)
        rows = [(int(i), int(a), int(g), float(t)) for i, a, g, t in zip(*found, strict=True)]
        expected = []
        for image in range(len(self.gt_boxes)):
            kept = self.gt_valid[image].nonzero()[:, 0].tolist()
            boxes, labels = self.gt_boxes[image].tolist(), self.gt_labels[image].tolist()
            plain = plain_assign(
                self.logits[image].t().tolist(),
                self.boxes[image].tolist(),
                self.points.tolist(),
                [(boxes[g], labels[g]) for g in kept],
                **options,  # pyright: ignore[reportArgumentType]
            )
            expected += [(image, a, kept[plain[a][0]], plain[a][1]) for a in sorted(plain)]
        assert [row[:3] for row in rows] == [row[:3] for row in expected]
        assert [row[3] for row in rows] == pytest.approx([row[3] for row in expected], rel=1e-9)
        return len(rows)


@pytest.mark.parametrize("seed", range(40))
def test_random_batches_equal_the_loops(seed: int) -> None:
    assert Batch(seed).assert_plain() > 0


@pytest.mark.parametrize(
    "options",
    [{"topk": 1}, {"topk": 500}, {"topk": 13, "alpha": 1.0, "beta": 2.0}, {"alpha": 0.0}],
)
def test_every_option_means_the_same_as_in_the_loops(options: dict[str, float]) -> None:
    assert Batch(101, near=3.0).assert_plain(**options) > 0


@pytest.mark.parametrize("chunk", [1, 106, 300, 1 << 30])
def test_the_result_does_not_depend_on_the_size_of_the_parts(chunk: int) -> None:
    batch = Batch(7)
    for got, expected in zip(batch.assign(chunk=chunk), batch.assign(), strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("seed", range(10))
def test_equal_metrics_go_to_the_first_points(seed: int) -> None:
    batch = Batch(seed)
    batch.boxes[:] = batch.gt_boxes[:, :1]  # all predictions of an image are equal
    batch.logits[:] = 0.5
    assert batch.assert_plain(topk=5) > 0


@pytest.mark.parametrize("seed", range(10))
def test_a_box_given_twice_goes_to_the_first(seed: int) -> None:
    batch = Batch(seed)
    batch.gt_boxes[:, 3:] = batch.gt_boxes[:, :3]
    batch.gt_labels[:, 3:] = batch.gt_labels[:, :3]
    batch.gt_valid[:] = True
    assert batch.assert_plain() > 0
    assert batch.assign().box.max() < 3


def test_the_overlap_decides_between_two_boxes_not_the_metric() -> None:
    points = torch.tensor([[10.0, 10.0]])
    gt_boxes = torch.tensor([[[0.0, 0, 20, 20], [0, 0, 20, 30]]])
    logits = torch.tensor([[[-9.0], [9.0]]])  # sure of the second box's class
    found = TaskAlignedAssigner()(
        logits,
        torch.tensor([[[0.0, 0, 20, 20]]]),
        points,
        gt_boxes,
        torch.tensor([[0, 1]]),
        torch.ones(1, 2, dtype=torch.bool),
    )
    assert found.box.tolist() == [0]
    assert found.target.tolist() == [1.0]  # the best point of its box, with CIoU 1


def test_two_boxes_by_hand() -> None:
    points, _ = anchor_points([(1, 4)], [8])  # x = 4, 12, 20, 28
    boxes = torch.tensor([[[0.0, 0, 8, 8], [0, 0, 16, 8], [16, 0, 24, 8], [0, 0, 9, 9]]])
    gt_boxes = torch.tensor([[[0.0, 0, 16, 8], [40, 0, 48, 8], [16, 0, 32, 8]]])
    logits = torch.zeros(1, 1, 4)
    found = TaskAlignedAssigner()(
        logits,
        boxes,
        points,
        gt_boxes,
        torch.zeros(1, 3, dtype=torch.long),
        torch.ones(1, 3, dtype=torch.bool),
    )
    # Point 3 predicts elsewhere; box 1 has no point inside.
    assert found.image.tolist() == [0, 0, 0]
    assert found.anchor.tolist() == [0, 1, 2]
    assert found.box.tolist() == [0, 0, 2]
    first = complete_iou(boxes[0, 0], gt_boxes[0, 0])
    third = complete_iou(boxes[0, 2], gt_boxes[0, 2])
    torch.testing.assert_close(found.target, torch.stack((first**6, first * 0 + 1, third)))


@pytest.mark.parametrize("border", [(8.0, 4.0), (0.0, 4.0), (4.0, 8.0), (4.0, 0.0)])
def test_a_point_on_a_border_is_outside(border: tuple[float, float]) -> None:
    points = torch.tensor([(4.0, 4.0), border])
    box = torch.tensor([[[0.0, 0, 8, 8]]])
    found = TaskAlignedAssigner()(
        torch.zeros(1, 1, 2),
        box.expand(1, 2, 4),
        points,
        box,
        torch.zeros(1, 1, dtype=torch.long),
        torch.ones(1, 1, dtype=torch.bool),
    )
    assert found.anchor.tolist() == [0]


@pytest.mark.parametrize("images", [0, 2])
@pytest.mark.parametrize("boxes", [0, 3])
def test_images_without_boxes_get_no_points(images: int, boxes: int) -> None:
    batch = Batch(3, images=images, boxes=boxes)
    batch.gt_valid[:] = False
    batch.gt_labels[:] = -1  # padding may hold anything
    batch.gt_boxes[:] = float("nan")
    assert [len(part) for part in batch.assign()] == [0, 0, 0, 0]


def test_an_empty_image_beside_a_full_one() -> None:
    batch = Batch(4)
    batch.gt_valid[1] = False
    batch.assert_plain()
    assert 1 not in batch.assign().image.tolist()


def test_boxes_without_area_and_wild_predictions_stay_finite() -> None:
    batch = Batch(5)
    batch.gt_boxes[0, :, 2:] = batch.gt_boxes[0, :, :2]
    batch.boxes[1] = 1e9 * batch.boxes[1]
    batch.boxes[2, ::2] = batch.boxes[2, ::2, :2].repeat(1, 2)
    batch.logits[:] *= 1e4
    found = batch.assign()
    assert torch.isfinite(found.target).all()
    assert 0 not in found.image.tolist()


@pytest.mark.parametrize(("label", "named"), [(-1, "-1"), (3, "3")])
def test_a_label_that_the_model_has_not_is_named(label: int, named: str) -> None:
    batch = Batch(6)
    batch.gt_valid[1, 2] = True
    batch.gt_labels[1, 2] = label
    with pytest.raises(DataError, match=f"label {named}, but the model has 3 classes"):
        batch.assign()


class LargestTensor(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                own = tensor.untyped_storage().nbytes() // tensor.element_size()
                known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
                if tensor.untyped_storage().data_ptr() not in known:  # a view makes nothing
                    self.elements = max(self.elements, own)
        return result


def test_no_tensor_grows_with_images_times_boxes_times_points() -> None:
    batch = Batch(8, images=6, boxes=60)
    batch.gt_boxes[:] = torch.tensor([0.0, 0, 80, 64])  # the worst: every point is in every box
    batch.gt_valid[:] = True
    pairs = 6 * 60 * len(batch.points)
    chunk = 10 * len(batch.points)
    with LargestTensor() as largest:
        assert len(batch.assign(chunk=chunk).image) > 0
    assert largest.elements <= 4 * chunk < pairs / 8
