"""Promise: a damaged checkpoint is a CheckpointError, never other numbers."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmattn.bridge.checkpoints import find_latest_checkpoint
from mmattn.errors import CheckpointError
from mmattn.io import read_checkpoint, save_safetensors, save_torch
from tests.support.resume_cases import equal, run

WEIGHTS = {
    f"layer{n}.weight": torch.randn(7, 5, generator=torch.Generator().manual_seed(n))
    for n in range(6)
}
CONTENT = {
    "state_dict": WEIGHTS,
    "meta": {"epoch": 3, "iter": 12, "dataset_meta": {"classes": ["cat", "dog"]}},
    "message_hub": {"runtime_info": {}},
}


def flipped(data: bytes, choice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(choice.randint(1, 3)):
        changed[choice.randrange(len(data))] ^= 1 << choice.randrange(8)
    return bytes(changed)


def truncated(data: bytes, choice: random.Random) -> bytes:
    return data[: choice.randrange(len(data))]


def zeroed(data: bytes, choice: random.Random) -> bytes:
    """A block that the disk never wrote."""
    start = choice.randrange(len(data))
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


def swapped(data: bytes, choice: random.Random) -> bytes:
    one, other = sorted(choice.sample(range(0, len(data) - 64, 64), 2))
    block, second = data[one : one + 64], data[other : other + 64]
    return data[:one] + second + data[one + 64 : other] + block + data[other + 64 :]


def longer(data: bytes, choice: random.Random) -> bytes:
    return data + choice.randbytes(choice.randint(1, 64))


MUTATIONS = [flipped, truncated, zeroed, swapped, longer]


def signed(path: Path) -> Path:
    save_torch(path, CONTENT)
    return path


def signed_safetensors(path: Path) -> Path:
    path = path.with_suffix(".safetensors")
    save_safetensors(path, WEIGHTS, {"dataset_meta": '{"classes": ["cat", "dog"]}'})
    return path


def of_torch(path: Path) -> Path:
    torch.save(CONTENT, path)
    return path


def counts(of_all: int) -> list:
    return [20, pytest.param(of_all, marks=pytest.mark.slow)]


@pytest.mark.parametrize("count", counts(200))
@pytest.mark.parametrize("write", [signed, signed_safetensors])
def test_every_damage_is_recognised(write: Callable, count: int, tmp_path: Path) -> None:
    path = write(tmp_path / "iter_12.pth")
    original = path.read_bytes()
    whole = read_checkpoint(path)
    choice = random.Random(count)
    for n in range(count):
        mutated = MUTATIONS[n % len(MUTATIONS)](original, choice)
        if mutated == original:  # zeros where there were some
            assert equal(read_checkpoint(path), whole)
            continue
        path.write_bytes(mutated)
        with pytest.raises(CheckpointError, match="iter_12"):
            read_checkpoint(path)
        path.write_bytes(original)


@pytest.mark.parametrize("count", counts(200))
def test_damage_in_other_peoples_files_never_gives_other_numbers(
    count: int, tmp_path: Path
) -> None:
    """They carry no digest, but zip archives have checksums of their own."""
    path = of_torch(tmp_path / "other.pth")
    original = path.read_bytes()
    choice = random.Random(count)
    refused = 0
    for n in range(count):
        path.write_bytes(MUTATIONS[n % len(MUTATIONS)](original, choice))
        try:
            assert equal(read_checkpoint(path), CONTENT)
        except CheckpointError:
            refused += 1
    assert refused > count / 2


def test_every_length_is_recognised(tmp_path: Path) -> None:
    """At any offset, the end with the digest included."""
    path = signed(tmp_path / "iter_12.pth")
    original = path.read_bytes()
    for length in [*range(0, len(original) - 120, 499), *range(len(original) - 120, len(original))]:
        path.write_bytes(original[:length])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


def test_torch_and_zip_read_a_file_with_a_digest(tmp_path: Path) -> None:
    path = signed(tmp_path / "iter_12.pth")
    for mapped in (False, True):
        assert equal(torch.load(path, weights_only=True, mmap=mapped), CONTENT)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"mmattn sha256:")


def test_a_file_without_a_digest_loads_with_a_word_in_the_log(tmp_path: Path, caplog) -> None:
    path = of_torch(tmp_path / "other.pth")
    with caplog.at_level("INFO", "mmattn"):
        assert equal(read_checkpoint(path), CONTENT)
    assert caplog.messages == [f"{path}: no digest"]
    caplog.clear()
    with caplog.at_level("INFO", "mmattn"):
        read_checkpoint(signed(path))
    assert caplog.messages == []
    old = io.BytesIO()  # of torch before 1.6
    torch.save(CONTENT, old, _use_new_zipfile_serialization=False)
    path.write_bytes(old.getvalue())
    assert equal(read_checkpoint(path), CONTENT)


# --- resume --------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A run with checkpoints of steps 4 and 8, stopped at step 9."""
    folder = tmp_path_factory.mktemp("run")
    run(folder, loop="iter", stop_at=9, checkpoint={"by_epoch": False, "interval": 4})
    return folder


def test_resume_falls_back_to_the_newest_whole_checkpoint(stopped: Path, tmp_path, caplog) -> None:
    for step in (4, 8, 9):
        (tmp_path / f"iter_{step}.pth").write_bytes((stopped / f"iter_{step}.pth").read_bytes())
    (tmp_path / "last_checkpoint").write_text("iter_9.pth")
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "iter_9.pth")
    damage(tmp_path / "iter_9.pth")
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "iter_8.pth")
    (tmp_path / "iter_8.pth").write_bytes(b"")
    (tmp_path / "last_checkpoint").write_text("iter_7.pth")  # flipped, too
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "iter_4.pth")
    damage(tmp_path / "iter_4.pth")
    with pytest.raises(CheckpointError, match="no whole checkpoint") as error:
        find_latest_checkpoint(str(tmp_path))
    assert all(f"iter_{step}.pth" in str(error.value) for step in (4, 7, 8, 9))


def test_a_run_goes_on_from_the_one_before(stopped: Path, tmp_path: Path, capfd) -> None:
    for file in stopped.glob("*"):
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path / "iter_9.pth")
    settings = {"loop": "iter", "checkpoint": {"by_epoch": False, "interval": 4}}
    assert run(tmp_path, **settings, resume=True) is None
    told = " ".join(capfd.readouterr())
    assert (
        "iter_8.pth, the newest whole checkpoint" in told
        and "iter_9.pth: truncated, corrupt" in told
    )
    with pytest.raises(CheckpointError, match=r"iter_9\.pth: truncated, corrupt"):
        run(tmp_path, **settings, resume=True, load_from=str(tmp_path / "iter_9.pth"))
