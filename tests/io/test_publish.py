"""Promise: a published file holds weights and class names, and its name its digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from mmattn.cli.main import main
from mmattn.errors import CheckpointError, ConfigError
from mmattn.io import read_checkpoint, save_torch
from mmattn.io.class_rows import class_names
from mmattn.io.publish import publish

AVERAGED = {"backbone.weight": torch.full((3, 2), 0.5)}
CONTENT = {
    "state_dict": AVERAGED,
    "ema_state_dict": {"module.backbone.weight": torch.zeros(3, 2), "steps": torch.tensor(4)},
    "optimizer": {"state": {0: {"exp_avg": torch.zeros(3, 2)}}, "param_groups": []},
    "message_hub": {"runtime_info": {}},
    "meta": {
        "epoch": 3,
        "iter": 12,
        "cfg": "work_dir = '/home/me'",
        "dataset_meta": {"classes": ("cat", "dog"), "palette": [(1, 2, 3), (4, 5, 6)]},
    },
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "epoch_3.pth"
    save_torch(path, CONTENT)
    return path


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_weights_and_classes_alone(checkpoint: Path, ending: str) -> None:
    done = publish(checkpoint, checkpoint.with_name(f"model{ending}"))
    digest = hashlib.sha256(done.path.read_bytes()).hexdigest()
    assert done.path.name == f"model-{digest[:8]}{ending}"
    content = read_checkpoint(done.path)
    assert content.keys() == {"state_dict", "meta"}
    assert torch.equal(content["state_dict"]["backbone.weight"], AVERAGED["backbone.weight"])
    assert class_names(content["meta"]) == (("cat", "dog"), ("cat", "dog"))
    assert "cfg" not in content["meta"] and int(content["meta"]["epoch"]) == 3
    assert done.averaged and done.classes == ("cat", "dog")
    assert done.left_out == ("ema_state_dict", "message_hub", "optimizer")


def test_the_command_says_what_it_kept(checkpoint: Path, capsys) -> None:
    assert main(["publish", str(checkpoint), str(checkpoint.with_name("model.pth"))]) == 0
    told = capsys.readouterr().out
    assert "the averaged weights (EMA), the names of 2 classes" in told
    assert "Left out: ema_state_dict, message_hub, optimizer." in told
    save_torch(checkpoint, {"state_dict": AVERAGED})
    assert main(["publish", str(checkpoint), str(checkpoint.with_name("model.pth"))]) == 0
    told = capsys.readouterr().out
    assert ": the weights, no class names" in told and "has to know the classes" in told


def test_what_cannot_be_published(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.safetensors or \.pth"):
        publish(checkpoint, checkpoint.with_name("model.onnx"))
    save_torch(checkpoint, {"meta": {}, "state_dict": {}})
    with pytest.raises(CheckpointError, match="holds no weights"):
        publish(checkpoint, checkpoint.with_name("model.pth"))
