"""Promise: a checkpoint goes to the disk without a copy in memory, and is the same file as ever."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn.errors import StorageError
from mmattn.io import checkpoint_files, read_checkpoint, save_torch
from mmattn.io.checkpoint_files import torch_bytes
from mmattn.io.digests import DigestWriter, check_digest

CONTENTS = {
    "empty": {},
    "numbers": {"meta": {"iter": 3, "name": "é" * 70000}},
    "tensors": {"a": torch.arange(100000.0), "b": [torch.ones(3, dtype=torch.bool), None]},
    "views": {"a": (rows := torch.rand(4, 5)), "b": rows[1:], "c": rows.T},
    "no elements": {"a": torch.empty(0)},
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_the_file_is_that_of_a_digest_in_memory(content: dict, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    save_torch(path, content)
    assert path.read_bytes() == torch_bytes(content).getvalue()
    with path.open("rb") as file:
        assert check_digest(file, "a.pth")
    assert read_checkpoint(path).keys() == content.keys()


@pytest.mark.parametrize("size", [1, 7, 21, 22, 23, 44, 1000])
def test_pieces_of_any_size(size: int) -> None:
    whole = io.BytesIO()
    torch.save(CONTENTS["tensors"], whole)
    plain, out = whole.getvalue()[:], io.BytesIO()
    writer = DigestWriter(out)
    start = len(plain) - 5000
    writer.write(plain[:start])
    for begin in range(start, len(plain), size):
        writer.write(plain[begin : begin + size])
    writer.finish()
    assert out.getvalue() == torch_bytes(CONTENTS["tensors"]).getvalue()


def test_what_is_no_zip_archive_gets_no_digest() -> None:
    writer = DigestWriter(io.BytesIO())
    writer.write(b"x" * 100)
    with pytest.raises(ValueError, match="not a zip archive"):
        writer.finish()


class Full(io.BytesIO):
    """A file that takes two pieces, then raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.left = error, 2

    def write(self, data) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(data)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_the_error_of_the_disk_is_the_one_that_is_raised(error: BaseException) -> None:
    writer = DigestWriter(Full(error))
    torch.save(CONTENTS["tensors"], writer)
    with pytest.raises(type(error)) as raised:
        writer.finish()
    assert raised.value is error


def test_a_disk_that_fills_up_is_told_with_the_bytes(tmp_path: Path, monkeypatch) -> None:
    save_torch(tmp_path / "a.pth", CONTENTS["tensors"])
    size = (tmp_path / "a.pth").stat().st_size
    write = DigestWriter._pass_on

    def fail(self, data) -> None:
        if not isinstance(self._file, checkpoint_files._CountedFile) and len(data) > 50000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(DigestWriter, "_pass_on", fail)
    with pytest.raises(StorageError, match=f"it needs {size:,} bytes"):
        save_torch(tmp_path / "a.pth", CONTENTS["tensors"])
    assert (tmp_path / "a.pth").stat().st_size == size
    assert len(list(tmp_path.iterdir())) == 1


MEASURED = """
import json, re, sys
import torch
from mmattn.io import save_torch
from mmattn.io.checkpoint_files import torch_bytes

def peak():  # ru_maxrss begins with the parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024

content = {"state_dict": {str(i): torch.rand(500, 5000) for i in range(20)}}
save_torch(sys.argv[1], {})
before = peak()
save_torch(sys.argv[1], content)
streamed = peak() - before
size = len(torch_bytes(content).getbuffer())
print(json.dumps([size, streamed, peak() - before]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_two_hundred_megabytes_are_not_copied(repo: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / "a.pth")],
        cwd=repo, capture_output=True, text=True, check=True,
    )  # fmt: skip
    size, streamed, in_memory = json.loads(done.stdout)
    assert size > 200e6
    assert in_memory > 0.9 * size, "the measure sees a copy"
    assert streamed < size / 20, (size, streamed, in_memory)
