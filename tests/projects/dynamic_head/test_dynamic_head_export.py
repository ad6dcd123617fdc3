"""Promise: a detector with Dynamic Head becomes a file that finds what torch finds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mmattn.cli.export import main
from mmattn.config import load_config
from mmattn.errors import ExportError
from mmattn.export.formats.onnx import opset_for
from mmattn.inference import build_model
from mmattn.ops import export_deform_conv_as
from mmattn.projects.dynamic_head import DynamicHead
from mmattn.projects.dynamic_head.high_mode import HIGH_MODES
from mmattn.quiet import quiet
from tests.support.small_detectors import CLASSES, as_if_trained, detector_config, write_config

FORMS = ("grid_sample", "deform_conv")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Config, checkpoint and images of a small ATSS with Dynamic Head."""
    root = tmp_path_factory.mktemp("dynamic_head")
    images = root / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for index, size in enumerate(((120, 90), (128, 128))):
        coarse = rng.integers(0, 256, (9, 9, 3), np.uint8)
        cv2.imwrite(str(images / f"{index}.png"), cv2.resize(coarse, size[::-1]))
    settings = detector_config("ATSS", root / "annotations.json", images)
    neck = {"type": "mmattn.DynamicHead", "in_channels": 16, "out_channels": 16, "num_blocks": 1}
    settings["model"]["neck"] = [settings["model"]["neck"], {**neck, "init": "official"}]
    config = write_config(root / "atss_dyhead.py", settings)
    torch.manual_seed(0)
    model = as_if_trained(build_model(load_config(config)))
    meta = {"dataset_meta": {"classes": CLASSES}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, root / "weights.pth")
    return SimpleNamespace(config=config, checkpoint=root / "weights.pth", images=images)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # mmdet's and the exporter's own
@pytest.mark.parametrize("form", FORMS)
def test_export_of_the_command_line(detector, form: str, tmp_path: Path) -> None:
    """As ``mmattn export CONFIG CHECKPOINT --dynamic``: decoding, NMS and five sizes of images."""
    onnx = pytest.importorskip("onnx")
    out = tmp_path / "detector.onnx"
    argv = [detector.config, detector.checkpoint, "--out", out, "--dynamic"]
    argv += ["--images", detector.images, "--num-images", "2", "--deform-conv", form]
    assert main(list(map(str, argv))) == 0
    parity = json.loads((tmp_path / "detector.parity.json").read_text())
    assert parity["passed"]
    assert len(parity["rows"]) == 5
    assert all(row["agreement"] == 1 for row in parity["rows"])
    proto = onnx.load(out)
    counts = Counter(node.op_type for node in proto.graph.node)
    seven = 3 + 2 + 2  # of the levels, and of the finer and coarser neighbours
    assert counts["DeformConv"] == (seven if form == "deform_conv" else 0)
    assert counts["GridSample"] == (0 if form == "deform_conv" else seven)
    assert proto.opset_import[0].version == (19 if form == "deform_conv" else 18)


class Levels(nn.Module):
    """A neck as a function of its levels one by one."""

    def __init__(self, neck: nn.Module):
        super().__init__()
        self.neck = neck

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        return self.neck(levels)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", HIGH_MODES)
def test_neck_in_onnxruntime(pyramid: Callable[..., list[Tensor]], mode: str, form: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    neck = DynamicHead(16, 16, 1, bias=True, init="official", high_mode=mode).eval()
    levels = pyramid(16, (9, 14), 3)
    with (
        torch.no_grad(),
        export_deform_conv_as(form),
        quiet("torch.onnx", "onnxscript", "onnx_ir", hide_warnings=True),
    ):
        expected = neck(levels)
        program = torch.onnx.export(
            Levels(neck), tuple(levels), dynamo=True, opset_version=19, verbose=False
        )
    content = program.model_proto.SerializeToString()
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    outputs = session.run(None, dict(zip(names, (x.numpy() for x in levels), strict=True)))
    for y, wanted in zip(outputs, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(y), wanted, rtol=1e-4, atol=1e-5)


def test_opsets_of_the_forms() -> None:
    assert opset_for("grid_sample", None) == 18
    assert opset_for("grid_sample", 17) == 17
    assert opset_for("deform_conv", None) == 19
    assert opset_for("deform_conv", 21) == 21
    with pytest.raises(ExportError, match=r"needs opset 19, got 18.*--deform-conv grid_sample"):
        opset_for("deform_conv", 18)
    with pytest.raises(ExportError, match=r"'deformconv'.*Did you mean 'deform_conv'"):
        opset_for("deformconv", None)


def test_a_runtime_without_deform_conv_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from mmattn.export import open_session

    def refuse(*args, **options) -> None:
        raise RuntimeError("Could not find an implementation for DeformConv(19) node")

    runtime = SimpleNamespace(InferenceSession=refuse, SessionOptions=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    with pytest.raises(ExportError, match="no DeformConv: export with --deform-conv grid_sample"):
        open_session(tmp_path / "detector.onnx")
