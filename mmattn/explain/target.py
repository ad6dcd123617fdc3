"""One scalar of a network's outputs that is explained, fixed for one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import DataError

from .networks import Outputs, Sample

#: Sides and coordinates of a box -> weights of x0, y0, x1, y1.
SIDES = {
    "left": (1.0, 0.0, 0.0, 0.0),
    "top": (0.0, 1.0, 0.0, 0.0),
    "right": (0.0, 0.0, 1.0, 0.0),
    "bottom": (0.0, 0.0, 0.0, 1.0),
    "x": (0.5, 0.0, 0.5, 0.0),
    "y": (0.0, 0.5, 0.0, 0.5),
    "width": (-1.0, 0.0, 1.0, 0.0),
    "height": (0.0, -1.0, 0.0, 1.0),
}
#: Scores are kept this far from 0 and 1, where their logit has no gradient.
_EDGE = 1e-6


@dataclass
class Target:
    """One scalar of a network's outputs on one image, fixed.

    Attributes:
        kind: ``"semantic"``, ``"detection"`` or ``"query"``.
        label: Index of the class.
        name: What it is, for titles.
        formula: What y is, in words.
        region: (H', W') bool in the input, which pixels it is about.
        point: x and y in the input, where attention is looked at.
        box: x0, y0, x1, y1 in the input, of a detection.
        index: Number of the detection or the query.
        score: Its score on the unchanged image, as ``faithful_score`` has it.
        is_probability: Whether semantic outputs are scores.
        mask: (h, w) bool of a query, where its own mask is.
        side: Key of ``SIDES`` where the place of a detection is explained and not its score, with a
            ``-`` in front where y is its negative.
        chosen: Why it was taken and how another one is; "" where the user asked for it.
    """

    kind: str
    label: int
    name: str
    formula: str
    region: Tensor
    point: tuple[float, float]
    box: tuple[float, float, float, float] | None = None
    index: int | None = None
    score: float = float("nan")
    is_probability: bool = False
    mask: Tensor | None = None
    side: str = ""
    chosen: str = ""

    def __call__(self, outputs: Outputs) -> Tensor:
        """Return y, differentiable, of outputs of the same, unchanged image.

        Raises:
            DataError: A changed network finds no objects.
        """
        if self.kind == "semantic":
            assert outputs.semantic is not None
            return outputs.semantic[self.label][self.region].mean()
        assert self.index is not None
        if self.kind == "query":
            assert outputs.query_classes is not None and outputs.query_masks is not None
            assert self.mask is not None
            chance = outputs.query_classes[self.index].softmax(0)[self.label]
            return chance * outputs.query_masks[self.index].sigmoid()[self.mask].mean()
        assert outputs.scores is not None
        if not len(outputs.scores):
            raise DataError("there are no detections any more")
        index = min(self.index, len(outputs.scores) - 1)
        if self.side:
            return self._place(outputs, index)
        score = outputs.scores[index].clamp(_EDGE, 1 - _EDGE)
        return (score / (1 - score)).log()

    def _place(self, outputs: Outputs, index: int) -> Tensor:
        """Return a side or a coordinate of a box as a share of the input, DETR's sigmoid.

        What pushes y up is evidence, so that a side and its negative have different maps.
        """
        assert outputs.boxes is not None
        height, width = self.region.shape
        x0, y0, x1, y1 = outputs.boxes[index].unbind()
        shares = torch.stack([x0 / width, y0 / height, x1 / width, y1 / height])
        y = (shares * shares.new_tensor(SIDES[self.side.lstrip("-")])).sum()
        return -y if self.side.startswith("-") else y

    def other(self, outputs: Outputs) -> Tensor | None:
        """Return the same scalar of the least likely class; None for a detection."""
        if self.kind == "semantic":
            assert outputs.semantic is not None
            return outputs.semantic[:, self.region].mean(1).min()
        if self.kind == "query":
            assert outputs.query_classes is not None and outputs.query_masks is not None
            assert self.index is not None
            chance = outputs.query_classes[self.index].softmax(0)[:-1].min()
            return chance * outputs.query_masks[self.index].sigmoid()[self.mask].mean()
        return None

    def faithful_score(self, outputs: Outputs) -> float:
        """Return the score of changed images: a number from 0 to 1 that needs no gradient.

        Semantic: mean of the class's probability in the region. Detection: the largest
        IoU times score of boxes of the class. Query: the largest probability times soft IoU with
        the mask.
        """
        if self.kind == "semantic":
            assert outputs.semantic is not None
            maps = outputs.semantic.detach()
            if self.is_probability:
                shares = maps[:, self.region].clamp_min(0)
                return float((shares[self.label] / shares.sum(0).clamp_min(1e-9)).mean())
            return float(maps[:, self.region].softmax(0)[self.label].mean())
        if self.kind == "query":
            assert outputs.query_classes is not None and outputs.query_masks is not None
            assert self.mask is not None
            masks = outputs.query_masks.detach().sigmoid()
            mask = self.mask.to(masks.dtype)
            both = (masks * mask).sum((1, 2))
            iou = both / (masks.sum((1, 2)) + mask.sum() - both).clamp_min(1e-6)
            chances = outputs.query_classes.detach().softmax(1)[:, self.label]
            return float((chances * iou).max())
        assert outputs.boxes is not None and outputs.scores is not None
        assert outputs.labels is not None and self.box is not None
        same = outputs.labels == self.label
        if not bool(same.any()):
            return 0.0
        boxes = outputs.boxes.detach()[same]
        box = boxes.new_tensor(self.box)
        return float((box_iou(boxes, box) * outputs.scores.detach()[same]).max())


def box_iou(boxes: Tensor, box: Tensor) -> Tensor:
    """Return the intersection over union of boxes (N, 4) with one (4,): (N,)."""
    low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
    both = (high - low).clamp_min(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return both / (areas - both).clamp_min(1e-9)


def region_of(target: Target, sample: Sample) -> np.ndarray:
    """Return the region on the image, (H, W) bool."""
    values = target.region.double().cpu().numpy()
    return sample.placement.to_image(values) >= 0.5
