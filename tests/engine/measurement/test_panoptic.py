"""A panoptic run from training to report: tables, plots, files in COCO's form, typed refusals."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmattn.engine
from mmattn.cli.report import main
from mmattn.config import load_config
from mmattn.engine.measurement.panoptic import measure_run
from mmattn.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def run(repo: Path, shapes_root: Path, tmp_path_factory) -> Iterator[tuple[Path, Path]]:
    """A config and the checkpoint of one epoch, in the folder of its run."""
    folder = tmp_path_factory.mktemp("panoptic")
    raises, logging.raiseExceptions = logging.raiseExceptions, False
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes_root))
        config = folder / "tiny_panoptic.py"
        # Dumped, it holds the paths themselves.
        load_config(repo / "tests/support/configs/tiny_panoptic.py").dump(config)
    mmattn.engine.train(config, work_dir=str(folder / "run"))
    yield config, folder / "run/epoch_1.pth"
    logging.raiseExceptions = raises


@pytest.mark.slow
def test_a_training_is_tabled_and_plotted(run) -> None:
    (log,) = run[1].parent.glob("*/*.log")
    text = log.read_text()
    assert "panoptic quality, on 4 images, in %, per class" in text
    assert "| grass " in text and "| things " in text and "bPQ" in text
    (folder,) = run[1].parent.glob("*/vis_data")
    for name in ("panoptic_val.json", "panoptic_quality_val.png", "worst_panoptic_val.png"):
        assert (folder / name).is_file()
    assert "boundary_PQ" in (folder / "scalars.json").read_text()


@pytest.mark.slow
def test_the_numbers_are_those_of_a_test(run, tmp_path: Path) -> None:
    config, checkpoint = run
    before = sorted(config.parent.rglob("*"))
    measured = measure_run(config, checkpoint, num_images=2)
    assert sorted(config.parent.rglob("*")) == before
    tested = mmattn.engine.test(
        config,
        str(checkpoint),
        work_dir=str(tmp_path / "test"),
        out=str(tmp_path / "predicted"),
        show_dir=str(tmp_path / "painted"),
    )
    for name, column in (("PQ", "PQ"), ("boundary_PQ", "bPQ"), ("mIoU", "IoU")):
        assert 100 * measured.numbers.value(column) == pytest.approx(
            tested[f"coco_panoptic/{name}"]
        )
    assert tested["coco_panoptic/mIoU"] > 0
    assert measured.num_images == 4 and len(measured.numbers.worst) == 2
    assert measured.scalars and measured.training_minutes is not None
    content = json.loads((tmp_path / "predicted/predictions.panoptic.json").read_text())
    assert len(content["annotations"]) == 4
    assert len(list((tmp_path / "predicted/predictions.panoptic").iterdir())) == 4
    assert len(list((tmp_path / "painted").glob("*"))) == 4


@pytest.mark.slow
def test_the_command_writes_both_pages(run, tmp_path: Path, capsys) -> None:
    config, checkpoint = run
    assert main([str(config), str(checkpoint), "--out", str(tmp_path / "r"), "--html"]) == 0
    assert "report.html" in capsys.readouterr().out
    text = (tmp_path / "r/README.md").read_text(encoding="utf-8")
    assert "## Panoptic quality per class on 4 validation images" in text
    assert "curves_metrics.png" in text
    assert "Worst images" in (tmp_path / "r/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_another_metric_is_told_what_to_add(run, tmp_path: Path) -> None:
    config, checkpoint = run
    cfg = load_config(config)
    cfg.val_evaluator = {"type": "DumpDetResults", "out_file_path": str(tmp_path / "x.pkl")}
    other = tmp_path / "dump.py"
    cfg.dump(other)
    with pytest.raises(ConfigError, match=r"ClasswisePanopticMetric'.*panoptic"):
        measure_run(other, checkpoint)


@pytest.mark.slow
def test_a_file_of_instances_stops_before_anything_is_trained(run, tmp_path: Path) -> None:
    config, _ = run
    for key in ("train_dataloader.dataset", "val_evaluator"):
        file = load_config(config)
        path = str(file.val_evaluator["ann_file"]).replace("panoptic_", "instances_")
        with pytest.raises(DataError, match=r"instances_val\.json.*has no segments_info"):
            mmattn.engine.train(
                config, work_dir=str(tmp_path / "w"), cfg_options={f"{key}.ann_file": path}
            )
    assert not list((tmp_path / "w").glob("*.pth"))
