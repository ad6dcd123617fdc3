"""All variants of one seed start, see and drop the same; a run that was stopped ends the same."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmattn.compare.initial_weights import CheckInitialWeightsHook, write_initial_weights
from mmattn.compare.places import parse_places, with_block
from mmattn.compare.shared_config import run_config, shared_config
from mmattn.compare.train_variant import run_variant
from mmattn.compare.variants import parse_variant
from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.data.datasets.seeded import NumberedIndex, SeededSampler
from mmattn.data.generators import seeded_generators
from mmattn.errors import CheckpointError, ConfigError
from tests.support.comparison_configs import FCN, RANDOM


def variant(name: str, folder: Path, iterations: int = 5, **options) -> Config:
    """The config of one variant, as ``compare`` writes it."""
    cfg = load_config(FCN, RANDOM | options)
    shared, _ = shared_config(cfg, iterations, num_samples=8)
    shared.default_hooks.checkpoint.interval = 2
    if name != "none":
        places = parse_places(["backbone.layer1", "backbone.layer3"], cfg)
        shared.model = with_block(cfg.to_dict()["model"], parse_variant(name).block, places)
    shared.dump(folder / f"{name}.py")
    return Config.fromfile(folder / f"{name}.py")


class Recorder:
    """A progress callback that can end a run."""

    def __init__(self, stop_at: int | None = None):
        self.stop_at = stop_at

    def __call__(self, done: int, total: int) -> None:
        if done == self.stop_at:
            raise KeyboardInterrupt


def final_weights(run: Path, iterations: int = 5) -> dict[str, torch.Tensor]:
    return torch.load(run / f"iter_{iterations}.pth", weights_only=False)["state_dict"]


@pytest.mark.slow
def test_shared_weights_are_equal_though_blocks_take_random_numbers(tmp_path: Path) -> None:
    """Without care, layers behind a new block would weights from other numbers."""
    enter_scope(variant("none", tmp_path))
    from mmengine.registry import MODELS

    weights = tmp_path / "seed0.pth"
    write_initial_weights(variant("none", tmp_path), 0, weights)
    base = torch.load(weights, weights_only=True)["state_dict"]

    torch.manual_seed(0)
    careless = MODELS.build(variant("CBAM", tmp_path).model)
    careless.init_weights()
    assert any(not torch.equal(careless.state_dict()[key], base[key]) for key in base)

    seen = {}
    for name in ("none", "CBAM"):
        cfg = run_config(variant(name, tmp_path), 0, tmp_path / name, weights)
        cfg.experiment_name = f"{tmp_path.name}-{name}"
        cfg.train_cfg.max_iters = 0
        runner = Runner.from_cfg(cfg)
        runner.register_hook(CheckInitialWeightsHook(weights))  # raises where they differ
        runner.train()
        seen[name] = deepcopy(runner.model.state_dict())
    for name, weights in seen.items():
        assert all(torch.equal(weights[key], base[key]) for key in base), name
        assert (set(weights) == set(base)) is (name == "none")


@pytest.mark.slow
def test_a_wrong_start_is_refused(tmp_path: Path) -> None:
    """``CheckInitialWeightsHook`` is the net under the test above: it can fail."""
    weights, other = tmp_path / "seed0.pth", tmp_path / "seed1.pth"
    cfg = variant("none", tmp_path)
    write_initial_weights(cfg, 0, weights)
    write_initial_weights(cfg, 1, other)
    cfg = run_config(cfg, 0, tmp_path / "run", weights)
    cfg.experiment_name = tmp_path.name
    runner = Runner.from_cfg(cfg)
    runner.register_hook(CheckInitialWeightsHook(other))
    with pytest.raises(CheckpointError, match="differs from"):
        runner.train()


def batches(cfg: Config, count: int, disturb: bool = False) -> list[bytes]:
    """The first batches of a run, as bytes."""
    enter_scope(cfg)
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    result = []
    for batch in loader:
        if disturb:  # as a model does that has one random layer more
            np.random.rand(3), torch.rand(7)
        result.append(pickle.dumps([x.numpy() for x in batch["inputs"]]))
        if len(result) == count:
            return result
    raise AssertionError("the loader ended")


@pytest.mark.slow
def test_batches_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """Not on what a model draws, nor on the number of workers; but on the seed."""
    weights = tmp_path / "none.pth"
    base = run_config(variant("none", tmp_path), 0, tmp_path / "a", weights)
    block = run_config(variant("CBAM", tmp_path), 0, tmp_path / "b", weights)
    workers = deepcopy(block)
    workers.train_dataloader.num_workers = 2
    wanted = batches(base, 5)
    assert wanted == batches(block, 5, disturb=True)
    assert wanted == batches(workers, 5)
    assert len(set(wanted)) == 5, "the second epoch is augmented anew"
    other = run_config(variant("none", tmp_path), 1, tmp_path / "c", weights)
    assert wanted != batches(other, 5)


def test_a_sampler_that_skips_goes_on_where_it_would_be() -> None:
    def sampler() -> SeededSampler:
        inner = {"type": "DefaultSampler", "shuffle": True}
        return SeededSampler(range(5), inner, seed=3)

    def first(sampler: SeededSampler, count: int) -> list[tuple[int, int]]:
        return [(int(i), i.number) for i, _ in zip(sampler, range(count), strict=False)]

    whole = first(sampler(), 17)
    assert [number for _, number in whole] == list(range(17))
    assert sorted(i for i, _ in whole[:5]) == sorted(i for i, _ in whole[5:10]) == list(range(5))
    assert [i for i, _ in whole[:5]] != [i for i, _ in whole[5:10]], "epochs are shuffled anew"
    late = sampler()
    late.skip(7)
    assert first(late, 10) == whole[7:]


def test_a_numbered_index_survives_its_way_to_a_worker() -> None:
    index = pickle.loads(pickle.dumps(NumberedIndex(4, 19)))
    assert (index, index.number) == (4, 19)


def test_seeded_generators_leave_the_process_as_it_was() -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    wanted = torch.rand(1), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    with seeded_generators(0, 1):
        inside = torch.rand(1)
    assert (torch.rand(1), np.random.rand()) == wanted
    with seeded_generators(0, 1):
        assert torch.equal(torch.rand(1), inside)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_as_if_it_was_not(tmp_path: Path) -> None:
    """Weights, images, dropout and optimiser go on bit by bit; the result is the same."""
    cfg, weights = variant("CBAM", tmp_path), tmp_path / "seed0.pth"
    write_initial_weights(variant("none", tmp_path), 0, weights)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    wanted = run_variant(cfg, 0, whole, weights, Recorder())
    with pytest.raises(KeyboardInterrupt):
        run_variant(cfg, 0, stopped, weights, Recorder(stop_at=4))
    assert not (stopped / "result.json").exists()
    result = run_variant(cfg, 0, stopped, weights, Recorder())
    assert len(result["step_seconds"]) < len(wanted["step_seconds"]), "it began anew"
    assert result["metrics"] == wanted["metrics"]
    expected = final_weights(whole)
    for key, value in final_weights(stopped).items():
        assert torch.equal(value, expected[key]), key
    areas = [np.load(run / "areas.npz")["areas"] for run in (whole, stopped)]
    assert areas[0].shape == (4, 4, 10)
    assert np.array_equal(*areas)


@pytest.mark.slow
def test_a_finished_run_is_kept_and_another_setting_is_refused(tmp_path: Path) -> None:
    """One that was stopped in its validation is validated: there is nothing left to train."""
    weights, run = tmp_path / "seed0.pth", tmp_path / "run"
    cfg = variant("none", tmp_path, iterations=2)
    write_initial_weights(cfg, 0, weights)
    wanted = run_variant(cfg, 0, run, weights, Recorder())
    (run / "result.json").unlink()
    result = run_variant(cfg, 0, run, weights, Recorder())
    assert result["step_seconds"] == []
    assert result["metrics"] == wanted["metrics"]
    kept = run_variant(cfg, 0, run, weights, Recorder(stop_at=1))  # trains nothing
    assert kept == json.loads((run / "result.json").read_text())
    longer = variant("none", tmp_path, iterations=6)
    with pytest.raises(ConfigError, match=r"other settings.*another --work-dir"):
        run_variant(longer, 0, run, weights, Recorder())


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_a_result_of_its_own(tmp_path: Path) -> None:
    """One variant that diverges must not end the comparison, nor count as a low accuracy."""
    weights = tmp_path / "seed0.pth"
    cfg = variant("none", tmp_path, **{"optim_wrapper.optimizer.lr": 1e30})
    write_initial_weights(cfg, 0, weights)
    result = run_variant(cfg, 0, tmp_path / "run", weights, Recorder())
    assert "metrics" not in result
    assert "the loss of iteration" in result["failure"]
