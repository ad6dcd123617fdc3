"""From the outputs of a dense head to boxes and scores: a function for each way of decoding.

A head may decode itself, and then needs no entry here::

    def decode_for_export(self, outputs, image_shape):
        '''Return boxes (N, A, 4), left, top, right, bottom in pixels of the network's input, and
        scores (N, A, C) in 0..1, of what ``forward`` returned for images of ``image_shape``,
        (height, width).'''

Sizes have to come from the shapes of ``outputs``, since height, width and batch are free. Its
``test_cfg`` is then followed over all A candidates together: ``score_thr`` on the scores, the
``nms_pre`` best, NMS within classes, ``max_per_img``; with ``multi_label=False`` a candidate stands
for its best class alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmattn.errors import ExportError

#: Height and width of the network's input; symbols while torch.export traces.
Size = tuple[int, int]


@dataclass(frozen=True)
class Candidates:
    """Candidates of one pyramid level, or of all levels of a head that does not tell them apart.

    Attributes:
        boxes: (N, A, 4) in pixels of the input.
        scores: (N, A, C), which ``score_thr`` and ``nms_pre`` look at.
        factor: (N, A, 1), multiplied to the scores after that (centerness); None without one.
    """

    boxes: Tensor
    scores: Tensor
    factor: Tensor | None = None


@dataclass(frozen=True)
class Decoding:
    """How a head is decoded.

    Attributes:
        decode: Function from the outputs of the head and the size of the input to candidates.
        best_class_only: Whether a candidate stands for its best class alone.
    """

    decode: Callable[[Any, Size], list[Candidates]]
    best_class_only: bool = False


def decoding_of(head: Any) -> Decoding:
    """Return how ``head`` is decoded.

    Raises:
        ExportError: No way is known; the message says why.
    """
    from mmdet.models.dense_heads import GFLHead, RTMDetHead, YOLOXHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    if callable(getattr(head, "decode_for_export", None)):
        return Decoding(
            lambda outputs, size: [Candidates(*head.decode_for_export(outputs, size))],
            best_class_only=not (head.test_cfg or {}).get("multi_label", True),
        )
    name = type(head).__name__
    if not isinstance(head, BaseDenseHead):
        raise ExportError(
            f"{name} is no dense head of mmdet: give it a method decode_for_export "
            "(docs/deploy_a_detector.md)"
        )

    def same(*methods: str, of: type) -> bool:
        return all(getattr(type(head), m, None) is getattr(of, m, None) for m in methods)

    if isinstance(head, YOLOXHead) and same("predict_by_feat", "_bbox_decode", of=YOLOXHead):
        return Decoding(lambda outputs, size: _decode_yolox(head, outputs), best_class_only=True)
    if isinstance(head, GFLHead) and same("predict_by_feat", "_predict_by_feat_single", of=GFLHead):
        return Decoding(lambda outputs, size: _decode_gfl(head, outputs, size))
    parts = ("predict_by_feat", "_predict_by_feat_single")
    if isinstance(head, RTMDetHead) and same(*parts, of=RTMDetHead):
        return Decoding(lambda outputs, size: _decode_dense(head, outputs, size))
    if same(*parts, "_bbox_post_process", of=BaseDenseHead):
        return Decoding(lambda outputs, size: _decode_dense(head, outputs, size))
    raise ExportError(
        f"{name} decodes its outputs in a way of its own, which export does not know; give it a "
        "method decode_for_export (docs/deploy_a_detector.md)"
    )


def _rows(values: Tensor, columns: int) -> Tensor:
    """(N, priors * columns, H, W) -> (N, H * W * priors, columns)."""
    return values.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, columns))


def _priors(head: Any, maps: Sequence[Tensor], **options: Any) -> list[Tensor]:
    sizes = [m.shape[-2:] for m in maps]
    priors = head.prior_generator.grid_priors(
        sizes, dtype=maps[0].dtype, device=maps[0].device, **options
    )
    return [getattr(p, "tensor", p) for p in priors]


def _decode_yolox(head: Any, outputs: Any) -> list[Candidates]:
    """Decode YOLOX (arXiv 2107.08430): class score times objectness, over all levels."""
    classes, boxes, objectness = outputs
    priors = torch.cat(_priors(head, classes, with_stride=True))
    scores = torch.cat([_rows(c, head.cls_out_channels) for c in classes], 1).sigmoid()
    factor = torch.cat([_rows(o, 1) for o in objectness], 1).sigmoid()
    deltas = torch.cat([_rows(b, 4) for b in boxes], 1)
    return [Candidates(head._bbox_decode(priors, deltas), scores * factor)]


def _decode_dense(head: Any, outputs: Any, size: Size) -> list[Candidates]:
    """Decode what follows mmdet's ``BaseDenseHead``: RetinaNet, ATSS, FCOS, RTMDet and the like."""
    classes, boxes, *rest = outputs
    factors = rest[0] if rest else [None] * len(classes)
    found = []
    for priors, cls, box, factor in zip(
        _priors(head, classes), classes, boxes, factors, strict=True
    ):
        deltas = _rows(box, head.bbox_coder.encode_size)
        found.append(
            Candidates(
                _decode_boxes(head, priors, deltas, size),
                _class_scores(head, _rows(cls, head.cls_out_channels)),
                None if factor is None else _rows(factor, 1).sigmoid(),
            )
        )
    return found


def _decode_gfl(head: Any, outputs: Any, size: Size) -> list[Candidates]:
    """Decode GFL (arXiv 2006.04388): distances are the means of distributions, times the stride."""
    classes, boxes = outputs
    found = []
    strides = [stride[0] for stride in head.prior_generator.strides]
    for priors, stride, cls, box in zip(
        _priors(head, classes), strides, classes, boxes, strict=True
    ):
        bins = _rows(box, 4 * (head.reg_max + 1)).unflatten(2, (4, head.reg_max + 1)).softmax(-1)
        distances = (bins * head.integral.project.to(bins)).sum(-1) * stride
        centres = head.anchor_center(priors)
        found.append(
            Candidates(
                _decode_boxes(head, centres, distances, size),
                _class_scores(head, _rows(cls, head.cls_out_channels)),
            )
        )
    return found


def _class_scores(head: Any, logits: Tensor) -> Tensor:
    """(N, A, outputs) -> (N, A, classes): sigmoid, or softmax without the background."""
    if head.use_sigmoid_cls:
        return logits.sigmoid()
    return logits.softmax(-1)[..., :-1]


def _decode_boxes(head: Any, priors: Tensor, deltas: Tensor, size: Size) -> Tensor:
    """(A, 2 or 4) priors and (N, A, 4) deltas -> (N, A, 4), cut at the border if the coder does."""
    coder = head.bbox_coder
    batch, count = deltas.shape[:2]
    repeated = priors[None].expand(batch, -1, -1).flatten(0, 1)
    boxes = coder.decode(repeated, deltas.flatten(0, 1))
    boxes = getattr(boxes, "tensor", boxes).unflatten(0, (batch, count))
    return clip_boxes(boxes, size) if getattr(coder, "clip_border", False) else boxes


def clip_boxes(boxes: Tensor, size: Size) -> Tensor:
    """Cut boxes (..., 4) at the border of an image of (height, width)."""
    height, width = size
    x = boxes[..., 0::2].clamp(min=0, max=width)
    y = boxes[..., 1::2].clamp(min=0, max=height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def check_parts(head: Any) -> None:
    """Raise an ExportError where a part of a head of mmdet has no known translation."""
    coder = getattr(head, "bbox_coder", None)
    name = type(coder).__name__
    known = ("DeltaXYWHBBoxCoder", "DistancePointBBoxCoder", "TBLRBBoxCoder")
    if coder is not None and name not in known and not hasattr(head, "decode_for_export"):
        from mmdet.models.dense_heads import YOLOXHead

        if not isinstance(head, YOLOXHead):
            raise ExportError(
                f"{type(head).__name__} has the box coder {name}, which export does not know "
                f"(it knows {', '.join(known)})"
            )
    if getattr(getattr(head, "loss_cls", None), "custom_cls_channels", False):
        raise ExportError(
            f"{type(head).__name__}: class scores of {type(head.loss_cls).__name__} cannot be "
            "exported"
        )
