"""Weights that a training starts from are on the disk before its data are looked at."""

from __future__ import annotations

from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import torch
from mmengine.config import Config

from mmattn.engine import train
from mmattn.engine.pretrained import fetch_pretrained
from mmattn.errors import CheckpointError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub/checkpoints"


@pytest.fixture
def offline(cache: Path, monkeypatch) -> Path:
    def refuse(*args, **kwargs) -> None:
        raise URLError("[Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return cache


def config(checkpoint: str | None, **more) -> Config:
    init = checkpoint and {"type": "Pretrained", "checkpoint": checkpoint}
    return Config({"model": {"backbone": {"type": "ResNet", "init_cfg": init}, **more}})


@pytest.mark.parametrize(
    ("cfg", "path", "url", "option"),
    [
        (config("torchvision://resnet18"), "model.backbone.init_cfg.checkpoint",
         "https://download.pytorch.org/models/resnet18", "model.backbone.init_cfg=None"),
        (config("open-mmlab://resnet50_v1c"), "model.backbone.init_cfg.checkpoint",
         "https://", "model.backbone.init_cfg=None"),
        (config("https://x.org/a/b.pth"), "model.backbone.init_cfg.checkpoint",
         "https://x.org/a/b.pth", "model.backbone.init_cfg=None"),
        (config(None, pretrained="torchvision://resnet18"), "model.pretrained",
         "https://download.pytorch.org/", "model.pretrained=None"),
        (config(None, heads=[{"init_cfg": {"type": "Pretrained", "checkpoint": "https://x.org/c"}}]),
         "model.heads[0].init_cfg.checkpoint", "https://x.org/c", "model.heads.0.init_cfg=None"),
        (Config({"load_from": "https://x.org/a/b.pth", "model": {}}), "load_from",
         "https://x.org/a/b.pth", "load_from=None"),
    ],
)  # fmt: skip
def test_without_network_one_error_has_address_place_and_both_ways_out(
    cfg: Config, path: str, url: str, option: str, offline: Path
) -> None:
    with pytest.raises(CheckpointError) as error:
        fetch_pretrained(cfg)
    text = str(error.value)
    assert "\n" not in text and f"{path}=" in text and url in text
    assert f"put it at {offline}/" in text and f": {option}" in text
    assert "name resolution" in text


def test_it_comes_before_the_data(offline: Path, repo: Path, tmp_path: Path) -> None:
    recipe = repo / "configs/ccnet/ccnet_r18-d8_1xb8-20k_camvid-360x360.py"
    options = {"data_root": str(tmp_path / "none"), "model.backbone.init_cfg": {
        "type": "Pretrained", "checkpoint": "torchvision://resnet18"}}  # fmt: skip
    with pytest.raises(CheckpointError, match="cannot be downloaded"):
        train(recipe, work_dir=str(tmp_path), cfg_options=options)


def test_what_is_in_the_cache_needs_no_network(offline: Path) -> None:
    offline.mkdir(parents=True)
    (offline / "b.pth").touch()
    fetch_pretrained(config("https://x.org/a/b.pth"))


def test_a_download_comes_into_the_cache(cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        torch.hub, "download_url_to_file", lambda url, target, *_, **__: Path(target).touch()
    )
    fetch_pretrained(config("https://x.org/a/b.pth"))
    assert (cache / "b.pth").is_file()


def test_other_failures_say_so_too(cache: Path, monkeypatch) -> None:
    def refuse(url, *args, **kwargs) -> None:
        raise HTTPError(url, 404, "Not Found", None, None)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(CheckpointError, match="HTTP 404"):
        fetch_pretrained(config("https://x.org/a/b.pth"))


def test_unknown_names_and_missing_files() -> None:
    with pytest.raises(CheckpointError, match="Did you mean 'resnet18'"):
        fetch_pretrained(config("torchvision://resnet81"))
    with pytest.raises(CheckpointError, match="no such file"):
        fetch_pretrained(config("weights/gone.pth"))
    fetch_pretrained(config(None))
