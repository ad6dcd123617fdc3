"""Promise: NMS and top-k of an exported file are those of the plain loops in torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from mmattn.export.box_selection import keep_top_scores, multiclass_nms
from mmattn.export.formats.onnx_selection import translations

K = 20


class Selection(nn.Module):
    """What follows the decoding of a detector."""

    def __init__(self, nms_pre: int) -> None:
        super().__init__()
        self.nms_pre = nms_pre

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        kept = torch.ops.mmattn_export.keep_top_scores(scores, self.nms_pre, 0.3)
        return torch.ops.mmattn_export.multiclass_nms(boxes, kept, 0.5, K)


def candidates(batch: int, count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, count, 2, generator=generator) * 60
    size = torch.rand(batch, count, 2, generator=generator) * 30 + 2
    scores = torch.rand(batch, count, classes, generator=generator)
    return torch.cat([corner, corner + size], -1), scores


@pytest.fixture(scope="module", params=[-1, 40])
def exported(request, tmp_path_factory) -> tuple[Selection, onnxruntime.InferenceSession]:
    module = Selection(request.param).eval()
    auto = torch.export.Dim.DYNAMIC
    free = ({0: auto, 1: auto}, {0: auto, 1: auto})
    program = torch.export.export(module, candidates(2, 50, 3), dynamic_shapes=free)
    translated = torch.onnx.export(
        program, dynamo=True, opset_version=18, verbose=False, input_names=["boxes", "scores"],
        custom_translation_table=translations(),
    )  # fmt: skip
    file = Path(tmp_path_factory.mktemp("selection")) / "selection.onnx"
    translated.save(str(file))
    domains = {node.domain for node in translated.model_proto.graph.node}
    assert domains == {""}, "standard operators alone"
    return module, onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (2, 50), (3, 7), (1, 400)])
def test_the_file_selects_what_the_loops_select(exported, batch: int, count: int) -> None:
    module, session = exported
    boxes, scores = candidates(batch, count, 3, seed=count)
    expected = module(boxes, scores)
    found = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    assert int(expected[3].sum()) > 0
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs.numpy())


def test_an_image_without_detections_has_none(exported) -> None:
    _, session = exported
    boxes, scores = candidates(2, 30, 3)
    scores[0] *= 0.29
    found = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    assert found[3][0] == 0 and found[3][1] > 0
    assert (found[0][0] == 0).all() and (found[1][0] == -1).all() and (found[2][0] == -1).all()
    scores *= 0
    found = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
    assert found[3].tolist() == [0, 0]


def test_the_loops_are_torchvision_s_nms() -> None:
    boxes, scores = candidates(1, 200, 3)
    index, label = torch.nonzero(scores[0] > 0.3, as_tuple=True)
    kept = batched_nms(boxes[0, index], scores[0, index, label], label, 0.5)[:K]
    masked = keep_top_scores(scores, -1, 0.3)
    found_boxes, found_scores, found_labels, count = multiclass_nms(boxes, masked, 0.5, K)
    assert count.tolist() == [K]
    assert torch.equal(found_scores[0], scores[0, index, label][kept])
    assert torch.equal(found_labels[0], label[kept])
    assert torch.equal(found_boxes[0], boxes[0, index][kept])


def test_top_scores_are_mmdet_s() -> None:
    from mmdet.models.utils import filter_scores_and_topk

    scores = candidates(1, 90, 4)[1]
    expected, labels, rows, _ = filter_scores_and_topk(scores[0], 0.6, 25)
    kept = keep_top_scores(scores, 25, 0.6)[0]
    assert len(expected) == 25 == int((kept > 0).sum())
    assert torch.equal(kept[rows, labels], expected)
