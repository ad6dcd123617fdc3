"""Promise: ``mmattn weights`` says what there is, fetches, checks and bundles it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.errors import ConfigError, DigestError, LicenceError, MissingCheckpointError
from mmattn.weights import licences
from tests.support.file_server import FileServer

from .conftest import CONTENT, SHA256


@pytest.fixture
def offered(server: FileServer, index: Callable) -> FileServer:
    server.files["/a"] = CONTENT
    index(
        {
            "sources": [{"url": f"{server.url}/a"}],
            "metric": {"name": "mIoU", "paper": 81.25, "measured_here": None},
        },
        {"name": "asks", "sources": [{"url": f"{server.url}/a"}],
         "licence": {"spdx": "AGPL-3.0", "url": "https://example.org/agpl"}},
    )  # fmt: skip
    return server


def test_list(offered: FileServer, capsys) -> None:
    assert main(["weights", "pull", "small"]) == 0
    capsys.readouterr()
    assert main(["weights", "list", "--system", "test"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["small", "Test", "none", "none", "mIoU", "81.25", "MIT", "yes"] in rows
    assert ["asks", "Test", "none", "none", "AGPL-3.0", "*"] in rows
    assert main(["weights", "list", "ccnet*cityscapes*"]) == 0
    out = capsys.readouterr().out
    assert "mIoU 79.03" in out and "small" not in out and "ade20k" not in out


def test_show(offered: FileServer, capsys, cache: Path) -> None:
    assert main(["weights", "show", "small", "yolov12-n_8xb32-600e_coco"]) == 0
    facts = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line
    )
    assert facts["asked in turn"].strip() == "none: a person downloads it"
    assert main(["weights", "show", "small"]) == 0
    out = capsys.readouterr().out
    assert f"no; it belongs at {cache}/small/small.pth" in out
    assert SHA256 in out and "bytes          not known" in out
    assert "mIoU: paper 81.25, publisher of the file not known, here not measured" in out
    assert main(["weights", "pull", "small"]) == 0
    assert main(["weights", "show", "small"]) == 0
    assert f"from {offered.url}/a" in capsys.readouterr().out


def test_pull_asks_nobody_in_a_pipe(offered: FileServer, capsys) -> None:
    assert main(["weights", "pull", "asks"]) == LicenceError.exit_code
    assert "mmattn weights pull asks --accept-licence" in capsys.readouterr().err
    assert main(["weights", "pull", "asks", "--accept-licence"]) == 0
    assert SHA256 in capsys.readouterr().out
    assert main(["weights", "pull", "asks"]) == 0


def test_pull_asks_in_a_terminal(offered: FileServer, monkeypatch, capsys) -> None:
    class Terminal:
        def __init__(self) -> None:
            self.answers, self.written = ["\n", "yes\n"], ""

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return self.answers.pop(0)

        def write(self, text: str) -> None:
            self.written += text

        def flush(self) -> None:
            pass

    terminal = Terminal()
    with monkeypatch.context() as patched:
        patched.setattr(licences.sys, "stdin", terminal)
        patched.setattr(licences.sys, "stderr", terminal)
        assert main(["weights", "pull", "asks"]) == LicenceError.exit_code  # a plain return is no
        assert main(["weights", "pull", "asks"]) == 0
    assert terminal.written.count("https://example.org/agpl") >= 2
    assert terminal.written.count("[y/N]") == 2


def test_a_slip_costs_no_download(offered: FileServer, capsys) -> None:
    assert main(["weights", "pull", "small", "asxs"]) == MissingCheckpointError.exit_code
    assert "Did you mean 'asks'" in capsys.readouterr().err
    assert main(["weights", "list", "--system", "CNet"]) == ConfigError.exit_code
    assert "Did you mean 'CCNet'" in capsys.readouterr().err
    assert offered.asked() == []


def test_verify(offered: FileServer, cache: Path, capsys) -> None:
    assert main(["weights", "pull", "small"]) == 0
    assert main(["weights", "verify"]) == 0
    out = capsys.readouterr().out
    assert "small: small.pth: as in the index" in out
    assert f"1 of 1 files in {cache} are whole" in out
    (cache / "small/small.pth").write_bytes(CONTENT[1:])
    (cache / "gone").mkdir()
    assert main(["weights", "verify"]) == DigestError.exit_code
    out = capsys.readouterr().out
    assert SHA256 in out and "gone: is in the cache, and no longer in the index" in out
    assert main(["weights", "verify", "asks"]) == DigestError.exit_code
    assert "asks: small.pth: is not in the cache" in capsys.readouterr().out


def test_bundle(offered: FileServer, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "weights.tar"
    assert main(["weights", "bundle", "small", "--out", str(out)]) == 0
    assert f"export MMATTN_WEIGHTS_MIRROR={out}" in capsys.readouterr().out
    assert main(["weights", "bundle", "small", "--out", f"{out}.gz"]) == ConfigError.exit_code
    monkeypatch.setenv("MMATTN_CACHE", str(tmp_path / "there"))
    monkeypatch.setenv("MMATTN_WEIGHTS_MIRROR", str(out))
    monkeypatch.setenv("MMATTN_OFFLINE", "1")
    assert main(["weights", "pull", "small"]) == 0
    assert (tmp_path / "there/weights/small/small.pth").read_bytes() == CONTENT
