"""Promise: a model that is shared out over two processes trains like a whole one.

Its checkpoints are ordinary ones: sharded and whole trainings go on from each other's, exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.runner import Runner
from torch.distributed.tensor import DTensor

from mmattn.engine.amp import CPUAmpOptimWrapper
from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.errors import NumericsError
from tests.support.forked_ranks import run_group
from tests.support.sharded_toy import (
    BadGradients,
    BadLoss,
    Copy,
    Recorder,
    alone,
    optim_wrapper,
    together,
)
from tests.support.toy_training import scale_losses_on_cpu

ACCUMULATED = {
    "optim_wrapper": optim_wrapper(accumulative_counts=3),
    "checkpoint": {"interval": 4, "by_epoch": False},
    "train_cfg": {"by_epoch": False, "max_iters": 5},
    "sampler": "InfiniteSampler",
}
SCALED = optim_wrapper(
    type="AmpOptimWrapper", dtype="bfloat16", loss_scale={"init_scale": 8.0, "growth_interval": 3}
)
#: Name -> settings of trainings that are compared.
TRAININGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": ACCUMULATED,
    "bfloat16": {"optim_wrapper": optim_wrapper(type=CPUAmpOptimWrapper)},
}
#: The same, with settings that are rarer.
MORE_TRAININGS: dict[str, dict[str, Any]] = {
    "scaled": {"optim_wrapper": SCALED},
    "clipped by value": {
        "optim_wrapper": optim_wrapper(clip_grad={"type": "value", "clip_value": 0.01})
    },
    "checkpointed": {
        "cfg": {"activation_checkpointing": ["backbone.1.0", "backbone.2", "head"]},
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Trainings of one process, in ``whole``, and of two, in ``parts``, and what these have seen.

    One group does all, since the first of its trainings takes much longer than the others.
    """
    root = tmp_path_factory.mktemp("sharded")
    recorder = Recorder()
    for name, settings in TRAININGS.items():
        hooks = (recorder,) if name == "plain" else ()
        alone(root / "whole" / name, hooks=hooks, **settings).train()
    ranks = run_group(lambda: _of_each_rank(root), root / "group")
    return {"root": root, "alone": recorder, "ranks": ranks}


def _of_each_rank(root: Path) -> dict[str, Any]:
    recorder = Recorder()
    seen: dict[str, Any] = {}
    for name, settings in TRAININGS.items():
        hooks = (recorder,) if name == "plain" else ()
        runner = together(root / "parts" / name, hooks=hooks, **settings)
        states = _states_in_the_head(runner) if name == "plain" else {}
        runner.train()
        if name == "plain":
            seen = {"losses": recorder.losses, "scores": recorder.scores, "held": _held(runner)}
            seen["states"] = {part: sorted(values) for part, values in states.items()}
    for source in ("parts", "whole"):
        _resume(together, root / f"from {source}", root / source / "plain/epoch_1.pth")
    half_way = root / "parts/accumulated/iter_4.pth"
    _resume(together, root / "half way", half_way, **ACCUMULATED)
    loaded = {"load_from": str(root / "whole/plain/epoch_1.pth"), "hooks": (Copy(),)}
    together(root / "loaded", **loaded).train()
    seen["said"] = ""
    try:
        together(root / "bad", hooks=(BadLoss(),)).train()
    except NumericsError as error:
        seen["said"] = str(error)
    together(root / "skipped", hooks=(BadLoss(), FiniteStepsHook("skip"))).train()
    return seen


def _resume(make: Callable[..., Runner], folder: Path, source: Path, **settings: Any) -> None:
    """Go on from ``source``, and save what was loaded first, as ``copy.pth``."""
    make(folder, resume=True, load_from=str(source), hooks=(Copy(),), **settings).train()


def _states_in_the_head(runner: Runner) -> dict[str, set[bool]]:
    """Note, whenever the head runs in a step, whether a block and the head are in parts."""
    net = runner.model.module
    states: dict[str, set[bool]] = {"block": set(), "head": set()}

    def note(*_: Any) -> None:
        if net.training:
            states["block"].add(isinstance(net.backbone[1][0].norm.weight, DTensor))
            states["head"].add(isinstance(net.head.weight, DTensor))

    net.head.register_forward_hook(note)
    return states


def _held(runner: Runner) -> dict[str, int]:
    """Count what this process holds of the model's parameters and of the optimiser's averages."""
    runner.model.share_out()
    parameters = list(runner.model.parameters())
    states = runner.optim_wrapper.optimizer.state.values()
    return {
        "all": sum(p.numel() for p in parameters),
        "trained": sum(p.numel() for p in parameters if p.requires_grad),
        "weights": sum(_numbers(p) for p in parameters),
        "averages": sum(_numbers(state["exp_avg"]) for state in states),
    }


def _numbers(part: Any) -> int:
    """Return how many numbers lie in the memory behind a part; one may be there for padding."""
    return part.to_local().untyped_storage().nbytes() // part.element_size()


def checkpoint(file: Path) -> dict[str, Any]:
    return torch.load(file, weights_only=True)


def difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Return the largest difference of any weight and of any state of the optimiser."""
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    assert found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    pairs = [(found["state_dict"][name], v) for name, v in expected["state_dict"].items()]
    states = expected["optimizer"]["state"]
    assert found["optimizer"]["state"].keys() == states.keys()
    for number, state in states.items():
        assert found["optimizer"]["state"][number].keys() == state.keys()
        pairs += [(found["optimizer"]["state"][number][key], v) for key, v in state.items()]
    assert all(type(a) is torch.Tensor and a.shape == b.shape for a, b in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs)


def test_it_trains_and_validates_like_one_process(runs: dict) -> None:
    """With clipping, settings of single parameters, frozen ones, and a layer one leaves out.

    The first process validates an image more than the second.
    """
    alone, (first, second) = runs["alone"], runs["ranks"]
    assert first["losses"] != second["losses"], "both have seen the same images"
    mean = [(a + b) / 2 for a, b in zip(first["losses"], second["losses"], strict=True)]
    assert mean == pytest.approx(alone.losses, rel=1e-5)
    assert first["scores"] == second["scores"] == pytest.approx(alone.scores, rel=1e-5)


@pytest.mark.parametrize("name", TRAININGS)
def test_weights_and_state_equal_those_of_one_process(name: str, runs: dict) -> None:
    """In bfloat16 two halves of a batch round otherwise than the whole."""
    last = "iter_5.pth" if name == "accumulated" else "epoch_2.pth"
    found, expected = (checkpoint(runs["root"] / n / name / last) for n in ("parts", "whole"))
    assert difference(found, expected) < (2e-3 if name == "bfloat16" else 1e-5)


def test_each_process_holds_half_of_weights_and_averages(runs: dict) -> None:
    first, second = (rank["held"] for rank in runs["ranks"])
    for held, count in (("weights", "all"), ("averages", "trained")):
        assert first[held] + second[held] >= first[count]
        assert max(first[held], second[held]) < 0.52 * first[count]


def test_a_block_lets_go_of_its_weights_behind_its_pass(runs: dict) -> None:
    for rank in runs["ranks"]:
        assert rank["states"] == {"block": [True], "head": [False]}


def test_checkpoints_of_both_forms_load_into_each_other_exactly(runs: dict) -> None:
    root = runs["root"]
    parts, whole = root / "parts/plain", root / "whole/plain"
    _resume(alone, root / "whole from parts", parts / "epoch_1.pth")
    cases = {
        "from parts": (parts, 0),
        "from whole": (whole, 1e-5),
        "whole from parts": (parts, 1e-5),
    }
    for name, (source, rounding) in cases.items():
        copy, last = (checkpoint(root / name / n) for n in ("copy.pth", "epoch_2.pth"))
        assert difference(copy, checkpoint(source / "epoch_1.pth")) == 0, name
        assert difference(last, checkpoint(source / "epoch_2.pth")) <= rounding, name
    loaded, start = (checkpoint(root / n) for n in ("loaded/copy.pth", "whole/plain/epoch_1.pth"))
    assert not loaded["optimizer"]["state"]
    torch.testing.assert_close(loaded["state_dict"], start["state_dict"], rtol=0, atol=0)


def test_gradients_that_wait_for_an_update_are_saved_too(runs: dict) -> None:
    found, expected = (
        checkpoint(runs["root"] / n / "iter_5.pth") for n in ("half way", "parts/accumulated")
    )
    assert difference(found, expected) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE_TRAININGS)
def test_rarer_settings_equal_those_of_one_process_too(name: str, tmp_path: Path) -> None:
    scale_losses_on_cpu()
    settings = MORE_TRAININGS[name]

    def rank() -> None:
        together(tmp_path / "parts", **settings).train()

    alone(tmp_path / "whole", **settings).train()
    run_group(rank, tmp_path / "group")
    found, expected = (checkpoint(tmp_path / n / "epoch_2.pth") for n in ("parts", "whole"))
    assert difference(found, expected) < (2e-3 if name == "scaled" else 1e-5)


def test_a_loss_that_is_not_finite_is_named_in_all_processes(runs: dict) -> None:
    for rank in runs["ranks"]:
        assert "step 3: in rank 1, the loss is nan" in rank["said"]
        assert "in rank 0" not in rank["said"]
        assert "The step of a sharded model is not saved" in rank["said"]
    assert not (runs["root"] / "bad/epoch_2.pth").exists()


def test_a_bad_step_is_left_out(runs: dict) -> None:
    last = checkpoint(runs["root"] / "skipped/epoch_2.pth")
    steps = {int(state["step"]) for state in last["optimizer"]["state"].values()}
    assert steps == {3}
    assert all(bool(value.isfinite().all()) for value in last["state_dict"].values())


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_bad_gradients_of_a_finite_loss_are_named_as_such(size: int, tmp_path: Path) -> None:
    def rank() -> str:
        with pytest.raises(NumericsError) as error:
            together(tmp_path / "parts", hooks=(BadGradients(),)).train()
        return str(error.value)

    for said in run_group(rank, tmp_path / "group", size):
        assert "step 1: " in said
        assert "the norm of all gradients" in said
        assert "repeated" not in said
