"""Promise: the raw network is ONNX of standard operators, which onnxruntime runs alike."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmattn.layers.fuse import fuse
from mmattn.quiet import quiet
from tests.support.golden_weights import golden_image

OPSET = 17


class Raw(nn.Module):
    """Raw predictions as a flat tuple: classes of all levels, then boxes."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        cls_scores, box_logits = self.model(x, mode="tensor")
        return (*cls_scores, *box_logits)


def exported(model: nn.Module, x: Tensor, **options: Any) -> bytes:
    pytest.importorskip("onnxscript")
    with torch.no_grad(), quiet("torch.onnx", "onnxscript", "onnx_ir", hide_warnings=True):
        program = torch.onnx.export(
            Raw(model), (x,), dynamo=True, opset_version=OPSET, verbose=False, **options
        )
    return program.model_proto.SerializeToString()


def run(content: bytes, x: Tensor) -> list[Tensor]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return [torch.from_numpy(output) for output in outputs]


def check(content: bytes, model: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        expected = Raw(model)(x)
    for got, value in zip(run(content, x), expected, strict=True):
        torch.testing.assert_close(got, value, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("size", [(640, 640), (480, 640)])
@pytest.mark.parametrize("version", ["turbo", "v1.0"])
def test_onnx_at_fixed_sizes(golden, version: str, size: tuple[int, int]) -> None:
    onnx = pytest.importorskip("onnx")
    model, x = fuse(golden[version]), golden_image(1, 3, *size)
    content = exported(model, x)
    proto = onnx.load_from_string(content)
    assert {entry.version for entry in proto.opset_import if entry.domain == ""} == {OPSET}
    assert {node.domain for node in proto.graph.node} <= {"", "ai.onnx"}
    counts = Counter(node.op_type for node in proto.graph.node)
    assert counts["Softmax"] == 8, "one for each of the 8 blocks, none with a mask"
    assert not counts["Pad"] + counts["Where"]
    check(content, model, x)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
def test_onnx_with_free_sizes(golden, tmp_path: Path) -> None:
    """Areas of sizes that are not known are masked, so that one graph is right for all."""
    model, x = fuse(golden["turbo"]), golden_image(2, 3, 128, 160)
    height, width = (32 * torch.export.Dim(f"{name}_by_32", min=2) for name in ("h", "w"))
    shapes = ({0: torch.export.Dim("batch"), 2: height, 3: width},)
    content = exported(model, x, dynamic_shapes=shapes)
    for batch, size in ((2, (128, 160)), (1, (96, 96)), (3, (224, 64))):
        check(content, model, golden_image(batch, 3, *size))
