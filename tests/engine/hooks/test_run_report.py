"""Promise: a run leaves report.html however it ends, and the report never ends a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mmattn.engine.hooks.run_report as module
from mmattn.config import load_config
from mmattn.engine.hooks import RunReportHook
from mmattn.engine.reported import RunReport
from mmattn.errors import ConfigError
from mmattn.reports.runs.facts import read_facts

HOOKS = [
    {"type": "mmattn.ClasswiseResultsHook"},
    {"type": "mmattn.RunReportHook", "images": 3, "flops": False},
]


def facts_of(runner) -> dict:
    return read_facts(Path(runner.log_dir))


def test_a_training_leaves_its_page_and_the_images_it_saw(runner) -> None:
    run = runner(HOOKS)
    run.train()
    page = Path(run.work_dir, "report.html").read_text("utf-8")
    for title in ("Curves", "Training images", "Dataset", "Model", "Environment"):
        assert f"<h2>{title}</h2>" in page, title
    facts = facts_of(run)
    assert facts["ended"] == {**facts["ended"], "how": "finished", "step": 4}
    parts = {part["name"]: part["parameters"] for part in facts["model"]["parts"]}
    assert sum(parts.values()) == facts["model"]["parameters"] > 0 and "backbone" in parts
    splits = {data["split"]: data["images"] for data in facts["data"]}
    assert splits == {"train": 8, "val": 3}
    assert Path(run.log_dir, "report", "batches.jpg").is_file()


def test_a_short_training_shows_the_few_images_that_it_saw(runner) -> None:
    run = runner([{"type": "mmattn.RunReportHook", "images": 100, "flops": False}])
    run.train()  # four steps of two images
    assert Path(run.log_dir, "report", "batches.jpg").is_file()


def test_a_training_that_fails_leaves_its_page_and_its_error(runner) -> None:
    run = runner(HOOKS)

    def fail(self, *args, **kwargs):
        raise RuntimeError("<the network broke>")

    run.train_loop.run_iter = fail.__get__(run.train_loop)
    report = RunReport(run.cfg, lambda found: None)
    with pytest.raises(RuntimeError, match="broke"), report.of(run):
        run.train()
    page = Path(run.work_dir, "report.html").read_text("utf-8")
    assert "failed after step 0: RuntimeError: &lt;the network broke&gt;" in page


def test_a_report_that_cannot_be_written_is_told_of_and_ends_nothing(runner, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_training_report", refuse)
    monkeypatch.setattr(module, "draw_batches", refuse)
    run = runner(HOOKS)
    told = []
    monkeypatch.setattr(run.logger, "warning", told.append)
    run.train()
    assert run.iter == 4
    assert [text for text in told if "report.html could not be written" in text]
    assert [text for text in told if "training images could not be drawn" in text]
    assert not Path(run.work_dir, "report.html").exists()


def test_one_setting_switches_it_off(runner, repo: Path) -> None:
    run = runner([])
    run.cfg.run_report = False
    with RunReport(run.cfg, lambda found: None).of(run):
        assert not any(isinstance(hook, RunReportHook) for hook in run.hooks)
    cfg = load_config(repo / "tests/support/configs/tiny_fcn.py", {"run_report": "no"})
    with pytest.raises(ConfigError, match="run_report='no' must be True or False"):
        RunReport(cfg, lambda found: None)


def test_a_wrong_number_of_images_is_refused() -> None:
    with pytest.raises(ConfigError, match="images=-1 must be a whole number"):
        RunReportHook(images=-1)
    assert json.dumps(RunReportHook(images=0).images) == "0"
