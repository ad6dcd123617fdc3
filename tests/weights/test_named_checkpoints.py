"""Promise: a name is a checkpoint wherever one is asked for, and is had before training starts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import load_checkpoint

from mmattn.cli.main import main
from mmattn.cli.predict import parse_args
from mmattn.config.run_settings import existing_checkpoint
from mmattn.engine.pretrained import fetch_checkpoint, fetch_pretrained
from mmattn.errors import (
    CheckpointError,
    DownloadError,
    LicenceError,
    MissingCheckpointError,
)
from mmattn.io import save_safetensors
from mmattn.weights import entry_name
from mmattn.weights.local import default_output, local_checkpoint
from tests.support.file_server import FileServer
from tests.support.shared_data import REPO, SHARED_DATA


def pretrained(checkpoint: str) -> dict:
    return {"type": "Pretrained", "checkpoint": checkpoint}


class Layer(BaseModule):
    """A model of one weight."""

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.layer = torch.nn.Linear(1, 1, bias=False)


@pytest.fixture
def offered(server: FileServer, index: Callable, tmp_path: Path) -> FileServer:
    """Offer the weight 7 of a ``Layer`` by the name "small"."""
    save_safetensors(tmp_path / "a.safetensors", {"layer.weight": torch.full((1, 1), 7.0)})
    content = (tmp_path / "a.safetensors").read_bytes()
    server.files["/a"] = content
    sha256 = hashlib.sha256(content).hexdigest()
    index({"sha256": sha256, "file": "small.safetensors", "sources": [{"url": server.url + "/a"}]})
    return server


@pytest.mark.parametrize("text", ["weights://small", "small"])
def test_every_way_to_name_weights(offered: FileServer, text: str, cache: Path) -> None:
    model = Layer(pretrained(text))
    model.init_weights()
    assert model.layer.weight.item() == 7
    other = Layer()
    load_checkpoint(other, text)
    assert other.layer.weight.item() == 7
    assert existing_checkpoint(text) == "weights://small"
    said: list[str] = []
    assert local_checkpoint(text, said.append) == str(cache / "small/small.safetensors")
    assert said[-1].startswith("Weights small: ") and "sha256" in said[-1]
    assert offered.asked() == ["/a"]


def test_names_files_and_addresses(offered: FileServer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("a/small", "./small", "torchvision://resnet50", "https://x.org/small", "", "none"):
        assert entry_name(text) is None, text
    assert entry_name("small") == "small" and entry_name("weights://none") == "none"
    (tmp_path / "small").touch()  # a file of that name comes first
    assert entry_name("small") is None and entry_name("weights://small") == "small"
    assert default_output("weights://small", None, ".onnx") == "small.onnx"
    assert default_output("weights://small", "x.onnx", ".onnx") == "x.onnx"
    assert default_output("run/a.pth", None, ".onnx") is None


@pytest.mark.parametrize("text", ["weights://smal", "smal"])
def test_a_slip_in_a_checkpoint_is_answered_at_once(offered: FileServer, text: str) -> None:
    with pytest.raises(CheckpointError, match="Did you mean 'small'"):
        existing_checkpoint(text)
    assert offered.asked() == []


def test_training_has_its_weights_first(offered: FileServer) -> None:
    fetch_pretrained(
        Config({"load_from": "small", "model": {"init_cfg": pretrained("weights://small")}})
    )
    fetch_checkpoint(Config({"load_from": "weights://small"}))
    assert offered.asked() == ["/a"]


@pytest.mark.parametrize("text", ["weights://smal", "smal"])
def test_an_unknown_name_ends_the_preflight(offered: FileServer, text: str) -> None:
    cfg = Config({"model": {"backbone": {"init_cfg": pretrained(text)}}})
    with pytest.raises(CheckpointError, match="Did you mean 'small'") as error:
        fetch_pretrained(cfg)
    assert f"model.backbone.init_cfg.checkpoint={text!r}" in str(error.value)


def test_the_preflight_says_what_to_do_without_network(index: Callable, monkeypatch) -> None:
    index({"sources": [{"url": "http://127.0.0.1:9/a"}]})
    monkeypatch.setenv("MMATTN_OFFLINE", "1")
    with pytest.raises(DownloadError, match="load_from='weights://small': small cannot be"):
        fetch_pretrained(Config({"load_from": "weights://small", "model": {}}))


def test_the_preflight_asks_nobody_who_is_not_there(index: Callable) -> None:
    licence = {"spdx": "AGPL-3.0", "url": "https://example.org"}
    index({"licence": licence})
    with pytest.raises(LicenceError, match="pull small --accept-licence"):
        fetch_pretrained(Config({"load_from": "weights://small", "model": {}}))


def test_predict_takes_a_name_instead_of_config_and_checkpoint(index: Callable) -> None:
    index({"config": "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py"}, {"name": "part"})
    args = parse_args(["small", "a.jpg", "b.jpg", "--out", "x"])
    assert args.config == "mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py"
    assert (args.checkpoint, args.images) == ("small", ["a.jpg", "b.jpg"])
    args = parse_args(["small", "b.pth", "a.jpg", "--out", "x"])  # a config of the same name
    assert (args.config, args.checkpoint, args.images) == ("small", "b.pth", ["a.jpg"])
    args = parse_args(["config.py", "weights://small", "a.jpg", "--out", "x"])
    assert (args.config, args.checkpoint, args.images) == (
        "config.py", "weights://small", ["a.jpg"],
    )  # fmt: skip


def test_predict_says_what_a_name_lacks(index: Callable, capsys) -> None:
    index({"name": "part"})
    for word, said in (("part", "give CONFIG before them"), ("weights://pat", "mean 'part'")):
        with pytest.raises(SystemExit, match="2"):
            parse_args([word, "a.jpg", "--out", "x"])
        assert said in capsys.readouterr().err


def test_test_and_predict_know_slips(offered: FileServer, capsys) -> None:
    config = str(REPO / "tests/support/configs/tiny_fcn.py")
    assert main(["test", config, "weights://smal"]) == MissingCheckpointError.exit_code
    assert "Did you mean 'small'" in capsys.readouterr().err


REAL = SHARED_DATA / "weights/mobilenetv2_imagenet_features.safetensors"


@pytest.mark.skipif(not REAL.is_file(), reason=f"no {REAL}")
def test_real_weights_from_a_mirror_into_the_backbone_of_a_config(
    index: Callable, tmp_path: Path, monkeypatch
) -> None:
    """torchvision's ImageNet MobileNetV2, converted on arrival, in mmseg's backbone."""
    mirror = tmp_path / "mirror/mobilenetv2-imagenet"
    mirror.mkdir(parents=True)
    (mirror / REAL.name).symlink_to(REAL)
    index({
        "name": "mobilenetv2-imagenet", "file": REAL.name, "size": REAL.stat().st_size,
        "sha256": hashlib.sha256(REAL.read_bytes()).hexdigest(),
        "converter": "torchvision-mobilenetv2-mmseg",
    })  # fmt: skip
    monkeypatch.setenv("MMATTN_WEIGHTS_MIRROR", str(tmp_path / "mirror"))
    cfg = Config.fromfile(REPO / "configs/ccnet/ccnet_mobilenetv2-d8_1xb8-700i_camvid-180x240.py")
    cfg.model.backbone.init_cfg = pretrained("weights://mobilenetv2-imagenet")
    fetch_pretrained(cfg)
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope("mmseg")
    backbone = MODELS.build(cfg.model.backbone)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.init_weights()
    after = backbone.state_dict()
    equal = [k for k in before if not k.endswith("tracked") and torch.equal(before[k], after[k])]
    assert not equal, "these kept their initial values"
