"""Promise: a disk that takes no more ends a run in one line, and no checkpoint is lost."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from pathlib import Path

import pytest
import torch

from mmattn.engine.hooks.checkpoint import CheckpointHook
from mmattn.errors import ConfigError, StorageError
from mmattn.io import read_checkpoint, save_safetensors, save_torch
from mmattn.io.storage import storage_error
from tests.support.resume_cases import run

ERRORS = ("ENOSPC", "EDQUOT", "EROFS", "EMFILE", "EIO", "EACCES")
POINTS = ("open", "fsync", "replace")
SETTINGS = {"loop": "iter", "checkpoint": {"by_epoch": False, "interval": 4, "max_keep_ckpts": 1}}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run(folder, **SETTINGS, stop_at=5)
    return folder


@pytest.fixture
def run_dir(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def failing(monkeypatch, point: str, number: int, name: str, times: int = 10**6) -> list[str]:
    """Let a call of the system fail for files whose name has ``name`` in it."""
    original, calls = getattr(os, point), []
    names: dict[int, str] = {}
    open_file = os.open

    def noting_open(path, *args, **kwargs):
        descriptor = open_file(path, *args, **kwargs)
        names[descriptor] = str(path)
        return descriptor

    def call(*args, **kwargs):
        file = args[1] if point == "replace" else args[0]
        file = names.get(file, "") if isinstance(file, int) else str(file)
        if name in Path(file).name and len(calls) < times:
            calls.append(file)
            raise OSError(number, os.strerror(number), file)
        return noting_open(*args, **kwargs) if point == "open" else original(*args, **kwargs)

    monkeypatch.setattr(os, "open", noting_open)
    monkeypatch.setattr(os, point, call)
    return calls


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("write", [save_torch, save_safetensors])
def test_a_write_that_fails_names_file_and_bytes(
    write, point: str, error: str, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "model.pth"
    weights = {"a": torch.zeros(1000)}
    write(path, weights)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        failing(patch, point, getattr(errno, error), "model")
        with pytest.raises(StorageError) as found:
            write(path, {"a": torch.ones(1000)})
    assert str(path) in str(found.value)
    assert re.search(r"it needs [45],\d{3} bytes, and [\d,]+ are free", str(found.value))
    assert found.value.errno == getattr(errno, error) and found.value.exit_code == 3
    assert isinstance(found.value, OSError)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "point", ["fsync", *(pytest.param(p, marks=pytest.mark.slow) for p in ("open", "replace"))]
)
@pytest.mark.parametrize("name", ["iter_8.pth", "last_checkpoint"])
def test_a_run_ends_and_the_checkpoint_before_stays(
    point: str, name: str, run_dir: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        failing(patch, point, errno.ENOSPC, name)
        with pytest.raises(StorageError, match=f"{name}.*No space left.*bytes"):
            run(run_dir, **SETTINGS, resume=True)
    pointed = (run_dir / "last_checkpoint").read_text()
    assert read_checkpoint(run_dir / pointed)["meta"]["iter"] in (5, 8)
    assert run(run_dir, **SETTINGS, resume=True) is None


def with_policy(policy: str) -> dict:
    return {**SETTINGS, "checkpoint": {**SETTINGS["checkpoint"], "on_write_error": policy}}


def test_a_run_goes_on_where_the_policy_says_so(run_dir: Path, monkeypatch, capfd) -> None:
    failing(monkeypatch, "fsync", errno.ENOSPC, "iter_8.pth")
    assert run(run_dir, **with_policy("continue"), resume=True) is None
    assert "The training goes on" in " ".join(capfd.readouterr())
    assert sorted(p.name for p in run_dir.glob("iter_*")) == ["iter_12.pth"]


def test_a_training_whose_last_checkpoint_fails_does_not_end_well(
    run_dir: Path, monkeypatch
) -> None:
    failing(monkeypatch, "fsync", errno.ENOSPC, "iter_12.pth")
    with pytest.raises(StorageError, match=r"iter_12\.pth"):
        run(run_dir, **with_policy("continue"), resume=True)
    assert read_checkpoint(run_dir / "iter_8.pth")["meta"]["iter"] == 8


def test_a_best_checkpoint_that_fails_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    """Its score must not stand in the way of the next best."""
    best = {"by_epoch": False, "interval": 4, "save_best": "toy/score", "rule": "greater"}
    calls = failing(monkeypatch, "fsync", errno.ENOSPC, "best_", times=1)
    best["on_write_error"] = "continue"
    assert run(tmp_path, loop="iter", checkpoint=best) is None
    assert len(calls) == 1
    content = read_checkpoint(tmp_path / "iter_12.pth")
    scores = content["message_hub"]["log_scalars"]["val/toy/score"]["log_history"].tolist()
    (kept,) = tmp_path.glob("best_*")
    assert kept.name.endswith(f"iter_{4 * (1 + scores.index(max(scores[1:])))}.pth")


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="on_write_error='ignore'"):
        CheckpointHook(interval=1, on_write_error="ignore")


def test_a_deletion_that_fails_costs_a_warning(run_dir: Path, monkeypatch, capfd) -> None:
    def refuse(path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "remove", refuse)
        assert run(run_dir, **SETTINGS, resume=True) is None
    assert "could not be deleted and stays" in " ".join(capfd.readouterr())
    assert {"iter_8.pth", "iter_12.pth"} <= {p.name for p in run_dir.glob("*.pth")}


def test_a_limit_of_the_system(run_dir: Path) -> None:
    """A real one: no file of this process may be larger than 3 kB."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
            run(run_dir, **SETTINGS, resume=True)
        except StorageError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    told = os.read(read, 5000).decode()
    os.waitpid(child, 0)
    assert "cannot be written: File too large" in told
    assert read_checkpoint(run_dir / "iter_5.pth")["meta"]["iter"] == 5
    assert not list(run_dir.glob(".*.tmp"))


def test_other_files_of_a_run_are_named_too() -> None:
    error = storage_error(OSError(errno.ENOSPC, "No space left on device", "vis_data/scalars.json"))
    assert str(error) == (
        "vis_data/scalars.json: cannot be written: No space left on device. Make room or raise the "
        "limit, or give another --work-dir."
    )
