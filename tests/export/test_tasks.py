"""Formats know no task: another task, with two outputs, goes through them as it is."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from mmattn.errors import ExportError
from mmattn.export import check_parity, export_onnx, load_exported, tasks
from mmattn.export.tasks.exportable import ExportableModel
from mmattn.export.tasks.task import Decoder, ExportTask, ParityMeasure


class Brightest(nn.Module):
    """A network that finds the brightest column and row: two scores per image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.data_preprocessor = nn.Module()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gray = images.mean(1) * self.scale
        return gray.mean(-2), gray.mean((-2, -1))


class BrightestExport(ExportableModel):
    axes = {"columns": {0: "batch", 1: "width"}, "level": {0: "batch"}}
    classes = ["column"]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.model(self.normalise(images))


class BrightestDecoder(Decoder):
    def __call__(self, outputs):
        return [(int(c.argmax()), float(v)) for c, v in zip(*outputs.values(), strict=True)]


class BrightestParity(ParityMeasure):
    agreement_title = "same column"

    def add(self, outputs, expected) -> None:
        self.max_difference = max(float(np.abs(outputs[k] - expected[k]).max()) for k in expected)
        self.largest = max(float(np.abs(expected[k]).max()) for k in expected)
        columns = outputs["columns"].argmax(1) == expected["columns"].argmax(1)
        self._agreement = float(columns.mean())

    @property
    def agreement(self) -> float:
        return self._agreement


class BrightestTask(ExportTask):
    name = "brightest column"
    outputs = ("scores",)

    def supports(self, model) -> bool:
        return isinstance(model, Brightest)

    def wrap(self, model, output) -> BrightestExport:
        return BrightestExport(model, output)

    @torch.no_grad()
    def run_torch(self, model, images):
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).flip(1).float()
        return dict(zip(BrightestExport.axes, (o.numpy() for o in model(batch)), strict=True))

    def decoder(self, metadata) -> BrightestDecoder:
        return BrightestDecoder(metadata)

    def measure(self, metadata) -> BrightestParity:
        return BrightestParity()


@pytest.fixture
def brightest(monkeypatch) -> Brightest:
    module = types.ModuleType("mmattn.export.tasks.brightest")
    module.TASK = BrightestTask()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(tasks.TASKS, BrightestTask.name, "brightest")
    return Brightest().eval()


def test_another_task_needs_no_change_of_a_format(brightest, images, tmp_path) -> None:
    path = tmp_path / "brightest.onnx"
    metadata = export_onnx(brightest, path, shape=(64, 96), dynamic=True)
    assert (metadata.task, metadata.output) == ("brightest column", "scores")
    report = check_parity(brightest, path, images[:2])
    assert len(report.rows) == 5 and "same column" in report.table()
    exported = load_exported(path)
    column, level = exported.predict(images[0])
    gray = images[0].mean(-1) / 2
    assert column == gray.mean(0).argmax()
    assert level == pytest.approx(gray.mean(), rel=1e-5)


def test_a_file_of_an_unknown_task_is_named(brightest, tmp_path, monkeypatch) -> None:
    path = tmp_path / "brightest.onnx"
    export_onnx(brightest, path, shape=(64, 96))
    monkeypatch.delitem(tasks.TASKS, BrightestTask.name)
    with pytest.raises(ExportError, match=r"brightest\.onnx: unknown task 'brightest column'"):
        load_exported(path)


def test_running_a_file_imports_no_torch(dynamic_file) -> None:
    code = (
        "import sys, numpy\n"
        "from mmattn.export import load_exported\n"
        f"exported = load_exported({str(dynamic_file)!r})\n"
        "print(exported.predict(numpy.zeros((64, 96, 3), 'uint8')).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(64, 96) False"
