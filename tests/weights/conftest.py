"""A cache, an index and a server of their own for each test; the network is never touched."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mmattn.io.download import Patience
from tests.support.file_server import FileServer, serving

#: No test waits long for a server.
QUICK = Patience(seconds=5, attempts=3, pause=0.01)
CONTENT = bytes(range(256)) * 400  # 100 KiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MIT = {"spdx": "MIT", "url": "https://example.org/licence"}


@pytest.fixture(autouse=True)
def of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache, and take every setting of the machine away."""
    for name in ("MIRROR", "INDEX"):
        monkeypatch.delenv(f"MMATTN_WEIGHTS_{name}", raising=False)
    for name in ("MMATTN_OFFLINE", "HF_ENDPOINT", "HF_TOKEN", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("MMATTN_CACHE", str(tmp_path / "cache"))
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> Any:
        assert address[0] in ("127.0.0.1", "::1"), f"tried to reach the network: {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache/weights"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write an index of entries, given as keys that differ from the usual ones."""

    def write(*entries: dict[str, Any], **more: Any) -> None:
        usual = {
            "name": "small", "system": "Test", "task": "none", "dataset": "none",
            "file": "small.pth", "sources": [], "page": "https://example.org/small",
            "sha256": SHA256, "layout": "ours", "licence": MIT,
        }  # fmt: skip
        content = {"weights": [{**usual, **entry} for entry in entries], **more}
        path = tmp_path / "index.yml"
        path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        monkeypatch.setenv("MMATTN_WEIGHTS_INDEX", str(path))

    return write
