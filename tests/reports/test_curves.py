"""Curves are drawn from mmengine's scalars, also of a run that was resumed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from mmattn.reports import curves
from mmattn.reports.curves import (
    commands_of_run,
    plot_curves,
    read_scalars,
    scalars_of_run,
    smoothed,
)


def write(path: Path, records: list[dict]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def training(step: int, loss: float) -> dict:
    return {
        "lr": 0.1,
        "loss": loss,
        "decode.loss_ce": loss,
        "time": 1.0,
        "iter": step,
        "step": step,
    }


def test_a_resumed_run_replaces_what_it_repeats(tmp_path: Path) -> None:
    first = [training(10, 3.0), {"mIoU": 1.0, "step": 10}, training(20, 2.0), training(30, 1.9)]
    second = [training(20, 2.5), {"mIoU": 2.0, "step": 20}]
    files = [write(tmp_path / "a.json", first), write(tmp_path / "b.json", second)]
    curves, metrics = read_scalars(files)
    assert curves["loss"] == [(10, 3.0), (20, 2.5)]
    assert metrics == {"mIoU": [(10, 1.0), (20, 2.0)]}
    assert "time" not in curves


def test_the_validation_behind_a_resumed_checkpoint_stays(tmp_path: Path) -> None:
    """The checkpoint of step 20 was written before the validation of step 20."""
    first = [training(10, 3.0), training(20, 2.0), {"mIoU": 2.0, "step": 20}]
    first += [training(30, 1.9), {"mIoU": 3.0, "step": 30}]  # behind the checkpoint: given up
    second = [training(25, 1.8)]
    files = [write(tmp_path / "a.json", first), write(tmp_path / "b.json", second)]
    curves, metrics = read_scalars(files)
    assert curves["loss"] == [(10, 3.0), (20, 2.0), (25, 1.8)]
    assert metrics == {"mIoU": [(20, 2.0)]}


def test_a_run_has_the_scalars_of_all_its_starts(tmp_path: Path) -> None:
    starts = {"1": False, "2": False, "3": True, "4": True}
    for name, resumed in starts.items():
        folder = tmp_path / name / "vis_data"
        folder.mkdir(parents=True)
        write(folder / "scalars.json", [training(10 * int(name), 1.0)])
        (folder / "config.py").write_text(f"model = dict(resume=1)\nresume = {resumed}\n")
    tested = tmp_path / "5/vis_data"
    tested.mkdir(parents=True)
    write(tested / "scalars.json", [{"mIoU": 1.0, "step": 0}])
    names = [file.parent.parent.name for file in scalars_of_run(tmp_path)]
    assert names == ["2", "3", "4"], "another training and a test in this folder do not count"
    assert scalars_of_run(tmp_path / "gone") == []
    for name in "1245":
        (tmp_path / name / "command.txt").write_text(f"mmattn train 'a b' {name}\n")
    assert commands_of_run(tmp_path) == ["mmattn train 'a b' 2", "mmattn train 'a b' 4"]


def test_plots_are_written_and_show_something(tmp_path: Path) -> None:
    records = [training(step, 1 / step) for step in (1, 2, 3)] + [{"mIoU": 5.0, "step": 3}]
    plots = plot_curves([write(tmp_path / "s.json", records)], tmp_path / "out")
    assert [p.name for p in plots] == ["curves_loss.png", "curves_lr.png", "curves_metrics.png"]
    (only,) = plot_curves([tmp_path / "s.json"], tmp_path / "only", plots=["metrics"])
    assert [file.name for file in only.parent.iterdir()] == ["curves_metrics.png"]
    for plot in plots:
        # Axes and labels alone are dark; a curve is coloured.
        pixels = cv2.imread(str(plot)).astype(int)
        assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 60).sum() > 50, plot


def test_smoothing_averages_the_past() -> None:
    assert smoothed([(0, 2.0), (1, 4.0), (2, 9.0)], 2) == [(0, 2.0), (1, 3.0), (2, 6.5)]


def test_nothing_logged_draws_nothing(tmp_path: Path) -> None:
    assert plot_curves([write(tmp_path / "s.json", [])], tmp_path / "out") == []


def test_a_metric_without_a_value_has_no_point(tmp_path: Path) -> None:
    """COCO's -1 for sizes that no object has made a curve of all others at the top."""
    names = ("coco/bbox_mAP_l", "coco/bbox_mAP", "coco/AR@100", "loss_of_val")
    records = [dict.fromkeys(names, -1.0) | {"step": 1}, dict.fromkeys(names, 0.5) | {"step": 2}]
    _, metrics = read_scalars([write(tmp_path / "a.json", records)])
    expected = {name: [(2, 0.5)] for name in names[:3]}
    assert metrics == {**expected, "loss_of_val": [(1, -1.0), (2, 0.5)]}


def test_no_two_lines_of_a_legend_look_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mask2Former's losses are 31 curves, and there are ten colours."""
    drawn = []
    monkeypatch.setattr(curves, "save_png", lambda axes, path: drawn.append(axes))
    file = tmp_path / "scalars.json"
    names = [
        f"d{layer}.{name}" for layer in range(10) for name in ("loss_cls", "loss_mask", "x.loss")
    ]
    file.write_text(json.dumps({"step": 1, "lr": 0.1, "loss": 9.0, **dict.fromkeys(names, 0.5)}))
    curves.plot_curves([file], tmp_path, plots=["loss"])
    (axes,) = drawn
    looks = [(line.get_color(), line.get_linestyle()) for line in axes.get_lines()]
    assert len(looks) == len(set(looks)) == 31
    assert len(axes.figure.legends[0].get_texts()) == 31
