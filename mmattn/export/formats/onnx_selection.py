"""ONNX for the operators of ``mmattn.export.box_selection``, in operators of the standard.

``NonMaxSuppression`` returns as many rows as it keeps, over the whole batch. They are written back
into a map of all candidates, from which ``TopK`` takes the best of each image: so the outputs have
K rows per image, whatever the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..box_selection import LEFT_OUT

if TYPE_CHECKING:
    import torch


def translations() -> dict[torch._ops.OpOverload, Callable[..., Any]]:
    """Return the table for ``torch.onnx.export(custom_translation_table=...)``."""
    import torch
    from onnxscript import INT64, opset18

    op: Any = opset18

    def constant(value: float | list[int]) -> Any:
        if isinstance(value, float):
            return op.Constant(value_float=value)
        return op.Constant(value_ints=value)

    def keep_top_scores(scores: Any, count: int, threshold: float) -> Any:
        left_out = constant(LEFT_OUT)
        above = op.Where(op.Greater(scores, constant(float(threshold))), scores, left_out)
        if count < 0:
            return above
        flat = op.Flatten(above, axis=1)
        number = op.Min(op.Shape(flat, start=1, end=2), constant([count]))
        values, index = op.TopK(flat, number, axis=1)
        empty = op.Expand(left_out, op.Shape(flat))
        kept = op.ScatterElements(empty, index, values, axis=1)
        return op.Reshape(kept, op.Shape(scores))

    def multiclass_nms(
        boxes: Any, scores: Any, iou_threshold: float, max_per_image: int
    ) -> tuple[Any, Any, Any, Any]:
        left_out, half = constant(LEFT_OUT), constant(LEFT_OUT / 2)
        rows = constant([max_per_image])
        by_class = op.Transpose(scores, perm=[0, 2, 1])  # (N, C, A)
        # (M, 3): image, class, candidate. No class has more than K among the K best of an image.
        chosen = op.NonMaxSuppression(
            boxes, by_class, rows, constant(float(iou_threshold)), half, center_point_box=0
        )
        empty = op.Expand(left_out, op.Shape(by_class))
        kept = op.ScatterND(empty, chosen, op.GatherND(by_class, chosen))
        flat = op.Flatten(kept, axis=1)  # (N, C * A)
        # K more, so that there are K to take from in an image of fewer candidates.
        batch = op.Shape(flat, start=0, end=1)
        more = op.Expand(left_out, op.Concat(batch, rows, axis=0))
        values, index = op.TopK(op.Concat(flat, more, axis=1), rows, axis=1)  # (N, K)
        found = op.Greater(values, half)
        candidates = op.Shape(scores, start=1, end=2)
        label = op.Where(found, op.Div(index, candidates), constant([-1]))
        place = op.Where(found, op.Mod(index, candidates), constant([0]))
        last = constant([-1])
        best = op.GatherND(boxes, op.Unsqueeze(place, last), batch_dims=1)  # (N, K, 4)
        best = op.Where(op.Unsqueeze(found, last), best, constant(0.0))
        count = op.ReduceSum(op.Cast(found, to=INT64.dtype), constant([1]), keepdims=0)
        return best, values, label, count

    namespace = torch.ops.mmattn_export
    return {
        namespace.keep_top_scores.default: keep_top_scores,
        namespace.multiclass_nms.default: multiclass_nms,
    }
