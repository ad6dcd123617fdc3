"""What an exact resume needs beside the order of images; the whole is in tests/faults."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmattn.engine import positioned_loading
from mmattn.engine.exactness import exactness, unordered_operators
from mmattn.engine.hooks.last_epochs_pipeline import LastEpochsPipelineHook
from tests.support.resume_cases import Draws, Pack, differences, last_checkpoint, run


class Shifts(Draws):
    """Another pipeline than before."""

    def transform(self, results: dict) -> dict:
        return {**super().transform(results), "target": results["target"] + 1}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def switching(runner) -> None:
    steps = [{"type": Shifts}, {"type": Pack}]
    runner.register_hook(LastEpochsPipelineHook(2, pipeline=steps))


@pytest.mark.parametrize("stop", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_a_pipeline_that_changes_with_workers_that_stay(stop: int, tmp_path: Path) -> None:
    """Before and behind the change."""
    run(tmp_path / "whole", prepare=switching)
    case = {"workers": 2, "persistent": True, "prepare": switching}
    run(tmp_path / "parts", **case, stop_at=stop)
    run(tmp_path / "parts", **case, resume=True)
    assert differences(tmp_path / "whole", tmp_path / "parts") == []
    run(tmp_path / "other")
    assert "state_dict" in differences(tmp_path / "whole", tmp_path / "other")


def test_the_original_mmengine_asks_for_each_batch_before(tmp_path: Path, monkeypatch) -> None:
    """Its loop has no ``skip_iter`` and takes what it has seen from the iterator."""

    class Asks(Hook):
        def before_train_epoch(self, runner) -> None:
            loop = runner.train_loop
            loop.dataloader_iterator.skip_iter = lambda steps: [
                next(loop.dataloader_iterator) for _ in range(steps)
            ]

    run(tmp_path / "whole", loop="iter")
    run(tmp_path / "parts", loop="iter", stop_at=5)
    monkeypatch.setattr(positioned_loading, "_InfiniteDataloaderIterator", object)
    run(tmp_path / "parts", loop="iter", resume=True, prepare=lambda r: r.register_hook(Asks()))
    assert differences(tmp_path / "whole", tmp_path / "parts") == []


def test_a_stop_within_an_epoch_leaves_no_file_behind(tmp_path: Path) -> None:
    said = run(tmp_path, stop_at=6)
    assert said is not None and "iter_6.pth" in said
    assert (tmp_path / "last_checkpoint").read_text() == "iter_6.pth"
    assert last_checkpoint(tmp_path)["meta"]["position"]["batches"] == 2
    run(tmp_path, resume=True)
    assert sorted(p.name for p in tmp_path.glob("[ei]*.pth")) == ["epoch_3.pth"]


def test_an_epoch_of_other_batches_begins_anew(tmp_path: Path, capfd) -> None:
    run(tmp_path, stop_at=6)
    run(tmp_path, resume=True, data="repeat")
    told = " ".join(capfd.readouterr())
    assert "Epoch 2 begins anew: the checkpoint lies behind 2 of its 4 batches" in told


def test_a_size_that_is_drawn_for_several_steps_is_kept(tmp_path: Path) -> None:
    class Resizes(torch.nn.Module):
        """Stands for mmdet's BatchSyncRandomResize."""

        def __init__(self) -> None:
            super().__init__()
            self._input_size: tuple[int, int] | None = None
            self._interval = 10

    def drawing(runner) -> None:
        runner.model.resizes = Resizes()
        runner.model.resizes._input_size = (5, 7)

    run(tmp_path, stop_at=2)  # saves without one
    seen = []

    class Looks(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            seen.append(runner.model.resizes._input_size)
            runner.model.resizes._input_size = (5, 7)

    def looking(runner) -> None:
        drawing(runner)
        runner.register_hook(Looks())

    run(tmp_path, resume=True, stop_at=4, prepare=looking)
    run(tmp_path, resume=True, stop_at=6, prepare=looking)
    assert seen[0] is None and set(seen[1:]) == {(5, 7)}


def test_the_first_screen_says_how_exact_it_is(tmp_path: Path) -> None:
    said = []

    class Screen(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            if runner.iter == 0:
                said.append(exactness(runner))

    for exact in (True, False):
        run(tmp_path, stop_at=1, exact=exact, prepare=lambda r: r.register_hook(Screen()))
    assert said[0].startswith("exact: the same numbers wherever it is stopped")
    assert said[1].endswith("(exact_resume=False)")


def test_operators_without_an_order_are_named() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.AdaptiveAvgPool2d(1))
    assert unordered_operators(model) == ["adaptive average pooling"]
    assert unordered_operators(model[0]) == []
