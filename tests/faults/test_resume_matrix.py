"""Promise: a training that is stopped and resumed ends as one that never was, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.resume_cases import differences, run

WORKERS = {"0 workers": (0, False), "2 workers": (2, False), "2 persistent": (2, True)}
DATA = ("plain", "mosaic", "repeat", "balanced", "concat", "aspect", "sliced")
FEATURES = ("sgd", "accumulating", "ema", "bf16")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[..., Path]:
    """Train without a stop and without workers; each training is run once."""
    folders: dict[tuple, Path] = {}

    def train(**case) -> Path:
        key = tuple(sorted(case.items()))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("whole")
            assert run(folders[key], **case) is None
        return folders[key]

    return train


def cases() -> list:
    """Every loop with all data and numbers of workers; the other settings take turns.

    Steps 1 to 11 are stopped at: within an epoch, at its end, between two updates of the weights.
    """
    made = []
    turn = itertools.count()
    for loop, data, workers in itertools.product(("epoch", "iter"), DATA, WORKERS):
        n = next(turn)
        made.append((loop, data, workers, FEATURES[n % 4], 1 + n * 5 % 11))
    for loop, feature in itertools.product(("epoch", "iter"), FEATURES):
        for stop in (1, 2, 5):
            n = next(turn)
            made.append((loop, DATA[n % 7], list(WORKERS)[n % 3], feature, stop))
    # A handful that have a bit of everything are in every run.
    quick = {0, 4, 13, 23, 28, 48}
    return [
        pytest.param(*case, marks=[] if n in quick else pytest.mark.slow)
        for n, case in enumerate(made)
    ]


@pytest.mark.parametrize(("loop", "data", "workers", "feature", "stop"), cases())
def test_a_stop_changes_nothing(
    loop: str, data: str, workers: str, feature: str, stop: int, tmp_path: Path, whole
) -> None:
    case = {"loop": loop, "data": data, "feature": feature}
    count, persistent = WORKERS[workers]
    if data == "sliced":  # which has 6 steps in epochs
        stop = min(stop, 5)
    said = run(tmp_path, **case, workers=count, persistent=persistent, stop_at=stop)
    assert said is not None and f"step {stop} of" in said
    # With another number of workers, which must not matter.
    assert run(tmp_path, **case, workers=2 - count, resume=True) is None
    assert differences(whole(**case), tmp_path) == []


@pytest.mark.parametrize("loop", ["epoch", "iter"])
def test_a_stop_in_a_validation_repeats_it(loop: str, tmp_path: Path, whole) -> None:
    case = {"loop": loop, "feature": "ema"}
    said = run(tmp_path, **case, stop_at=4, in_validation=True)
    assert said is not None and "in the validation behind step 4" in said
    assert "validates again" in said
    assert run(tmp_path, **case, resume=True) is None
    assert differences(whole(**case), tmp_path) == []


@pytest.mark.slow
def test_stopped_in_the_last_validation(tmp_path: Path, whole) -> None:
    said = run(tmp_path, stop_at=12, in_validation=True)
    assert said is not None and "step 12 of 12" in said
    assert run(tmp_path, resume=True) is None
    assert differences(whole(), tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["epoch", "iter"])
def test_stopped_at_every_step(loop: str, tmp_path: Path, whole) -> None:
    """One step for each start."""
    case = {"loop": loop, "feature": "accumulating", "data": "mosaic"}
    for stop in range(1, 12):
        said = run(tmp_path, **case, stop_at=stop, resume=stop > 1)
        assert said is not None, stop
    assert run(tmp_path, **case, resume=True) is None
    assert differences(whole(**case), tmp_path) == []


def test_the_seed_of_a_run_that_names_none_is_resumed_too(tmp_path: Path) -> None:
    """mmengine takes it up for the model, and keeps the order of another seed."""
    run(tmp_path / "run", seed=None, stop_at=6)
    run(tmp_path / "run", seed=None, resume=True)
    seed = torch.load(tmp_path / "run" / "epoch_3.pth", weights_only=True)["meta"]["seed"]
    run(tmp_path / "whole", seed=seed)
    assert differences(tmp_path / "whole", tmp_path / "run") == []


def test_without_it_a_resumed_run_is_another(tmp_path: Path, whole) -> None:
    """The comparison above can fail."""
    run(tmp_path, exact=False, stop_at=6)
    run(tmp_path, exact=False, resume=True)
    assert "state_dict" in differences(whole(), tmp_path)
