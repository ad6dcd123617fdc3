"""The end of an export: a row for each file, and commands that fit the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmattn.export.int8 import Int8Report
from mmattn.export.parity import ParityReport, ParityRow
from mmattn.export.summary import files_table, next_steps


def test_each_file_has_a_row_with_its_worst_size(tmp_path: Path) -> None:
    names = ("a.onnx", "a.xml", "a.bin", "a.int8.onnx")
    onnx, xml, weights, int8 = files = [tmp_path / name for name in names]
    for number, file in enumerate(files, 1):
        file.write_bytes(bytes(1000 * number))
    rows = [
        ParityRow("traced", 1, 64, 96, 2, 1e-6, 1.0, 1e-6, 1.0),
        ParityRow("larger", 1, 96, 96, 2, 3e-5, 1.0, 3e-5, 0.9995),
    ]
    report = ParityReport(str(onnx), "onnxruntime 1", 1e-4, 0.999, True, rows=rows)
    decisions = [replace(rows[0], relative=None)]
    report = replace(
        report,
        converted=[replace(report, file=str(xml), runtime="openvino 2", rows=decisions)],
        int8=Int8Report(str(int8), 8, 5, "mIoU", 4, 0.75, 0.7375, 1000, 4000),
    )
    _, _, *lines = files_table(files, report).splitlines()
    cells = {Path(line.split()[0]).name: line.split(maxsplit=1)[1].split() for line in lines}
    assert cells == {
        "a.onnx": ["1.0", "kB", "onnxruntime", "1", "3.0e-05", "99.950%"],
        "a.xml": ["2.0", "kB", "openvino", "2", "-", "100.000%"],
        weights.name: ["3.0", "kB", "-", "-", "-"],
        "a.int8.onnx": ["4.0", "kB", "int8", "-", "mIoU", "-1.25"],
    }


def test_a_file_of_free_size_is_timed_at_that_of_the_export() -> None:
    speed, use = next_steps(Path("my model.onnx"), (64, 96), dynamic=True)
    assert speed == "speed: mmattn benchmark 'my model.onnx' --size 64 96"
    assert use == "use:   mmattn predict 'my model.onnx' IMAGES --out found"
    assert (
        next_steps(Path("a.onnx"), (64, 96), dynamic=False)[0] == "speed: mmattn benchmark a.onnx"
    )
