"""Promise: runs take their weights by name: one download for two ranks, and a picture predicted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.data import write_shapes_dataset
from mmattn.inference import build_model
from mmattn.io import save_safetensors
from tests.support.file_server import FileServer
from tests.support.two_ranks import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def config(repo: Path, server: FileServer, index: Callable, tmp_path: Path, monkeypatch) -> Path:
    """Offer weights of a small segmentor by the name "small", which knows its config."""
    config = repo / "tests/support/configs/tiny_fcn.py"
    write_shapes_dataset(tmp_path / "shapes", num_train=4, num_val=2, size=(64, 64), seed=0)
    monkeypatch.setenv("SHAPES_ROOT", str(tmp_path / "shapes"))
    model = build_model(load_config(config))
    save_safetensors(tmp_path / "a.safetensors", model.state_dict())
    server.files["/a"] = (tmp_path / "a.safetensors").read_bytes()
    index({
        "file": "small.safetensors", "sources": [{"url": f"{server.url}/a"}],
        "sha256": hashlib.sha256(server.files["/a"]).hexdigest(), "config": str(config),
    })  # fmt: skip
    return config


def test_two_ranks_download_once_and_the_log_says_what(
    config: Path, repo: Path, server: FileServer, tmp_path: Path
) -> None:
    environment = os.environ | {
        "PYTHON": sys.executable, "PORT": str(free_port()), "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    done = subprocess.run(
        [repo / "tools/dist_train.sh", config, "2", "--work-dir", tmp_path / "run",
         "--cfg-options", "load_from=weights://small", "train_cfg.max_iters=2"],
        env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert server.asked() == ["/a"]
    log = next((tmp_path / "run").glob("*/*.log")).read_text(encoding="utf-8")
    lines = [line for line in log.splitlines() if "Weights small: " in line]
    sha256 = hashlib.sha256(server.files["/a"]).hexdigest()
    assert lines and sha256 in lines[0] and f"from {server.url}/a" in lines[0]


def test_predict_and_test_by_name(config: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("a.png", np.full((64, 64, 3), 99, np.uint8))
    assert main(["predict", "small", "a.png", "--out", "found"]) == 0
    assert (tmp_path / "found/a.png").is_file()
    assert "Weights small: " in capsys.readouterr().out
    assert main(["test", str(config), "weights://small", "--work-dir", "run"]) == 0
    assert "mIoU" in capsys.readouterr().out
