"""Promise: a file's name exists only with its complete content, whatever fails on the way."""

from __future__ import annotations

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from mmattn.io import atomic_write, sweep_leftovers


def leftovers(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".tmp")]


def test_file_appears_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.bin"
    with atomic_write(file) as opened:
        opened.write(b"half")
        assert not file.exists()
        opened.write(b" and half")
    assert file.read_bytes() == b"half and half"
    assert os.listdir(file.parent) == ["a.bin"]


def test_text_is_utf8_and_permissions_are_the_usual(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "ours", "w") as opened:
        opened.write("Größe → 3")
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours").read_bytes() == "Größe → 3".encode()
    mode = stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == mode


def test_symbolic_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link", "w") as opened:
        opened.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_order_of_steps_survives_power_loss(tmp_path: Path, monkeypatch) -> None:
    """Content to disk, then the name, then the directory to disk: no other order is safe."""
    steps = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        steps.append((f"fsync {kind}", os.fstat(descriptor).st_size if kind == "file" else None))
        fsync(descriptor)

    def noted_replace(source, target) -> None:
        steps.append(("replace", None))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    with atomic_write(tmp_path / "a") as opened:
        opened.write(b"12345")
    assert steps == [("fsync file", 5), ("replace", None), ("fsync directory", None)]


@pytest.mark.parametrize("point", ["open", "fsync", "replace", "caller"])
def test_failure_keeps_the_old_file(tmp_path: Path, monkeypatch, point: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"old")

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    if point in ("open", "fsync", "replace"):
        monkeypatch.setattr(os, point, full)
    with pytest.raises(OSError, match="No space"), atomic_write(file) as opened:
        opened.write(b"new")
        if point == "caller":
            full()
    monkeypatch.undo()
    assert file.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_real_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    """The kernel refuses the bytes, in a process of its own since limits cannot be raised again."""
    file = tmp_path / "a"
    file.write_bytes(b"old")
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            with atomic_write(file) as opened:
                for _ in range(10):
                    opened.write(b"x" * 4096)
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert file.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_failed_directory_sync_is_told_but_content_is_whole(tmp_path: Path, monkeypatch) -> None:
    fsync = os.fsync

    def fails_on_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "I/O error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_on_directories)
    with pytest.raises(OSError, match="I/O error"), atomic_write(tmp_path / "a") as opened:
        opened.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_leftovers_of_the_dead_alone_are_swept(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with atomic_write(tmp_path / "a") as opened:
            opened.write(b"x")
            os._exit(0)
    os.waitpid(child, 0)
    (dead,) = leftovers(tmp_path)
    foreign = tmp_path / ".b.00000000-1-0.tmp"
    foreign.touch()
    with atomic_write(tmp_path / "c") as opened:
        opened.write(b"x")
        removed = sweep_leftovers(tmp_path)
    assert [file.name for file in removed] == [dead]
    assert foreign.exists(), "another machine's process may be writing it"
    assert (tmp_path / "c").read_bytes() == b"x"


def test_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mode"), atomic_write(tmp_path / "a", "a"):
        pass
