"""Plots are drawn by the metrics that can, and nothing is said about the others."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.evaluation import CocoMetric, VOCMetric

from mmattn.engine.hooks import ClasswiseResultsHook, EvalPlotsHook
from mmattn.evaluation import ClasswiseCocoMetric


def runner_of(folder: Path, *metrics) -> SimpleNamespace:
    evaluator = SimpleNamespace(metrics=list(metrics))
    return SimpleNamespace(
        log_dir=str(folder),
        logger=logging.getLogger("test_eval_plots"),
        val_loop=SimpleNamespace(evaluator=evaluator),
        test_loop=SimpleNamespace(evaluator=evaluator),
        _train_loop=None,
    )


def test_metrics_of_upstream_have_no_plots_and_no_message(tmp_path: Path, caplog) -> None:
    runner = runner_of(tmp_path, VOCMetric(), CocoMetric(), object())
    with caplog.at_level(logging.DEBUG):
        for hook in (EvalPlotsHook(), ClasswiseResultsHook()):
            hook.after_val_epoch(runner, {"pascal_voc/mAP": 0.5})
            hook.after_test_epoch(runner, {"pascal_voc/mAP": 0.5})
    assert caplog.records == [] and list(tmp_path.iterdir()) == []


def test_a_metric_that_has_not_evaluated_draws_nothing(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        EvalPlotsHook().after_val_epoch(runner_of(tmp_path, ClasswiseCocoMetric()))
    assert caplog.records == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no place"), OSError("disk full")])
def test_a_plot_that_fails_ends_no_training(tmp_path: Path, caplog, error: Exception) -> None:
    class Broken:
        def save_plots(self, folder: Path, name: str) -> list[Path]:
            raise error

    EvalPlotsHook().after_val_epoch(runner_of(tmp_path, Broken()))
    assert f"could not be saved: {error}" in caplog.text


def test_the_image_to_look_at_is_named_first(tmp_path: Path, caplog) -> None:
    class Draws:
        def save_plots(self, folder: Path, name: str) -> list[Path]:
            return [folder / f"numbers_{name}.json", folder / f"a_{name}.png", folder / "z.png"]

    with caplog.at_level(logging.INFO):
        EvalPlotsHook().after_test_epoch(runner_of(tmp_path, Draws()))
    expected = (
        f"Look at {tmp_path / 'vis_data' / 'z.png'}; beside it: numbers_test.json, a_test.png"
    )
    assert expected in caplog.text
