"""Promise: rank 0 alone reads whether a checkpoint is whole, and all resume from what it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mmengine.dist
import pytest

from mmattn.errors import CheckpointError
from mmattn.io import checkpoint_files
from tests.support.toy_training import toy_runner
from tests.support.two_ranks import run_ranks


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    toy_runner(folder).train()
    assert {"epoch_1.pth", "epoch_2.pth"} <= {file.name for file in folder.iterdir()}
    return folder


@pytest.fixture
def second_rank(monkeypatch):
    """Make this process believe that it is rank 1; returns how to say what rank 0 has found."""
    verified: list[str] = []
    check = checkpoint_files.check_digest

    def noting(file, name: str) -> bool:
        verified.append(Path(name).name)
        return check(file, name)

    def tell(found) -> list[str]:
        monkeypatch.setattr(checkpoint_files, "check_digest", noting)
        monkeypatch.setattr(mmengine.dist, "get_world_size", lambda: 2)
        monkeypatch.setattr(mmengine.dist, "get_rank", lambda: 1)
        monkeypatch.setattr(
            mmengine.dist, "broadcast_object_list", lambda data: data.__setitem__(0, found)
        )
        return verified

    return tell


def test_another_rank_takes_what_the_first_has_found(
    trained: Path, tmp_path: Path, second_rank
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    file = run / "epoch_1.pth"  # as if the second were damaged
    facts = (file.stat().st_size, file.stat().st_mtime_ns)
    runner = toy_runner(run, resume=True)
    verified = second_rank((str(file), facts))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.load_or_resume()
    assert (runner.epoch, verified) == (1, [])


def test_a_copy_of_its_own_is_verified(trained: Path, tmp_path: Path, second_rank) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    damage(run / "epoch_2.pth")
    runner = toy_runner(run, load_from=str(run / "epoch_2.pth"))
    verified = second_rank((str(run / "epoch_2.pth"), (1, 2)))
    with pytest.raises(CheckpointError, match="SHA-256"):
        runner.load_or_resume()
    assert verified == ["epoch_2.pth"]


def test_another_rank_raises_what_the_first_has_raised(trained: Path, second_rank) -> None:
    runner = toy_runner(trained, resume=True)
    verified = second_rank(CheckpointError("all are damaged"))
    with pytest.raises(CheckpointError, match="all are damaged"):
        runner.load_or_resume()
    assert not verified


@pytest.mark.slow
def test_two_processes(trained: Path, tmp_path: Path, repo: Path) -> None:
    runs = [Path(shutil.copytree(trained, tmp_path / name)) for name in ("whole", "newest", "all")]
    for file in ("newest/epoch_2.pth", "all/epoch_1.pth", "all/epoch_2.pth"):
        damage(tmp_path / file)
    command = ["tests.support.resuming_ranks", *map(str, runs)]
    codes, texts = run_ranks(repo, command, command)
    assert codes == [0, 0], texts
    first, second = (json.loads((runs[0] / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert [one["outcome"][:40] for one in first] == [one["outcome"][:40] for one in second]
    assert [one["outcome"] for one in first[:2]] == ["epoch 2", "epoch 1"]
    assert "no whole checkpoint to resume from" in first[2]["outcome"]
    assert [one["verified"] for one in second] == [[], [], []]
    assert first[0]["verified"] == ["epoch_2.pth"]
    assert first[1]["verified"] == ["epoch_2.pth", "epoch_1.pth"]
