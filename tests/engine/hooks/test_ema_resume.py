"""mmengine's averaged weights survive our checkpoints and a resume, bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

EMA = [{"type": "EMAHook", "momentum": 0.3}]


def test_a_resumed_run_ends_with_the_weights_of_one_that_was_never_stopped(
    runner, tmp_path: Path
) -> None:
    schedule = {"param_scheduler.0.end": 4}
    runner(EMA, tmp_path / "straight", **schedule).train()
    resumed = runner(EMA, tmp_path / "resumed", **schedule)
    resumed._resume, resumed._load_from = True, str(tmp_path / "straight/iter_2.pth")
    resumed.train()
    one, other = (
        torch.load(tmp_path / name / "iter_4.pth", weights_only=True)
        for name in ("straight", "resumed")
    )
    for part in ("state_dict", "ema_state_dict"):
        assert one[part].keys() == other[part].keys()
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), (part, name)
    # What is deployed is the average: it lags behind the weights that are trained.
    name = "backbone.conv1.weight"
    assert not torch.equal(one["state_dict"][name], one["ema_state_dict"]["module." + name])


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_the_large_batch(runner, tmp_path: Path) -> None:
    """Two steps of four images, or four of two: group norm keeps the images apart."""
    steps = {"param_scheduler": [], "default_hooks.logger.interval": 1}
    small = {"train_dataloader.batch_size": 2, "optim_wrapper.accumulative_counts": 2}
    states = []
    for name, options in (("large", {"train_cfg.max_iters": 2}), ("small", small)):
        built = runner([], tmp_path / name, **steps, **options)
        built.train()
        states.append(built.model.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-4, atol=1e-6)
