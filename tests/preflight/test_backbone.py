"""Promises: a config gets its backbone's normalisation, and a wrong number of channels is named."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmattn.errors import ConfigError
from mmattn.inference import build_model
from mmattn.models.timm_normalization import fill_normalization
from mmattn.preflight.backbone import check_channels
from tests.support.tiny_models import tiny_detector, tiny_segmentor

TIMM = {"type": "mmattn.TimmBackbone", "model_name": "resnet10t", "out_indices": (1, 2, 3, 4)}
WRAPPED = {
    "type": "mmattn.WithPlugins",
    "inner": TIMM,
    "plugins": [{"cfg": {"type": "mmattn.SE"}, "stages": (False, True, True, True)}],
}
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


CHANNELS = [64, 128, 256, 512]


def detector(backbone: dict, **preprocessor: Any) -> dict:
    return tiny_detector(backbone, CHANNELS, **preprocessor)


def segmentor(backbone: dict, **preprocessor: Any) -> dict:
    return tiny_segmentor(backbone, CHANNELS, **preprocessor)


def config(scope: str, model: dict, **others: Any) -> Config:
    return Config(
        {"default_scope": scope, "model": copy.deepcopy(model), **others},
        cfg_text="x",
        filename="c.py",
    )


BOTH = pytest.mark.parametrize(
    ("scope", "make"), [("mmdet", detector), ("mmseg", segmentor)], ids=["mmdet", "mmseg"]
)


@BOTH
@pytest.mark.parametrize("backbone", [TIMM, WRAPPED], ids=["timm", "with_plugins"])
def test_build_model_fills_in_timms_normalisation(scope: str, make, backbone: dict) -> None:
    cfg = config(scope, make(backbone))
    model = build_model(cfg)
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(MEAN)
    assert model.data_preprocessor.std.flatten().tolist() == pytest.approx(STD)
    channels = getattr(model.data_preprocessor, "_channel_conversion", None)
    if channels is None:
        channels = model.data_preprocessor.channel_conversion
    assert channels, "timm's networks take RGB, files are read as BGR"
    assert "mean" not in cfg.model.data_preprocessor, "the caller's config is not changed"


def test_the_networks_own_normalisation_is_meant() -> None:
    """Inception's -1 to 1 for one, ImageNet's for the other weights of the same network."""
    model = segmentor(TIMM | {"model_name": "vit_tiny_patch16_224", "out_indices": (3,)})
    fill_normalization(model, "mmseg")
    assert model["data_preprocessor"]["mean"] == [127.5] * 3
    model = segmentor(TIMM | {"model_name": "convnext_tiny.in12k", "out_indices": (3,)})
    fill_normalization(model, "mmseg")
    assert model["data_preprocessor"]["std"] == STD


def test_a_top_level_preprocessor_is_filled_where_the_model_has_none() -> None:
    model = detector(TIMM)
    top = model.pop("data_preprocessor")
    assert (
        build_model(config("mmdet", model, data_preprocessor=top)).data_preprocessor.mean
        is not None
    )
    wrapped = {"type": "DetTTAModel", "module": detector(TIMM)}
    fill_normalization(wrapped, "mmdet")
    assert wrapped["module"]["data_preprocessor"]["mean"] == MEAN


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": [0, 0, 0], "std": STD, "bgr_to_rgb": True}, ["mean=[0, 0, 0]", "123.675"]),
        ({"mean": MEAN, "std": [1, 1, 1], "bgr_to_rgb": True}, ["std=[1, 1, 1]", "57.375"]),
        ({"mean": MEAN, "std": STD}, ["bgr_to_rgb is off"]),
        ({"rgb_to_bgr": True}, ["rgb_to_bgr is on"]),
        ({"mean": MEAN, "std": STD, "bgr_to_rgb": True}, []),
        ({"mean": [123.5, 116.3, 103.5], "std": [58, 57, 57], "bgr_to_rgb": True}, []),
        ({}, []),
    ],
)
def test_a_contradiction_is_a_warning_that_names_both(given: dict, words: list, caplog) -> None:
    model = detector(TIMM, **given)
    before = copy.deepcopy(given)
    with caplog.at_level(logging.WARNING, logger="mmattn"):
        fill_normalization(model, "mmdet")
    assert all(word in caplog.text for word in words)
    assert bool(caplog.text) == bool(words)
    assert before.items() <= model["data_preprocessor"].items(), "what is written is kept"


def test_other_backbones_and_preprocessors_are_left_alone() -> None:
    for model in (
        detector({"type": "ResNet", "depth": 18}),
        detector(TIMM) | {"data_preprocessor": {"type": "Mine"}},
        {"type": "RetinaNet", "backbone": TIMM},
    ):
        before = copy.deepcopy(model)
        fill_normalization(model, "mmdet")
        assert model == before


RESNET = {
    "type": "mmattn.WithPlugins",
    "inner": {"type": "ResNet", "depth": 18},
    "plugins": [{"cfg": {"type": "mmattn.SE"}, "stages": (3,)}],
}


@pytest.mark.parametrize("backbone", [TIMM, RESNET], ids=["timm", "with_plugins"])
@pytest.mark.parametrize(
    ("scope", "change", "message"),
    [
        ("mmdet", {"neck.in_channels": [256, 512, 1024, 2048]},
         r"c\.py: model\.neck\.in_channels=\[256, .*\[64, 128, 256, 512\]"),
        ("mmdet", {"neck.in_channels": [64, 128, 256]}, r"in_channels=\[64, 128, 256\], but"),
        ("mmseg", {"decode_head.in_channels": [64, 128, 256, 2048]},
         r"model\.decode_head\.in_channels=\[64, 128, 256, 2048\] with in_index"),
        ("mmseg", {"auxiliary_head.in_channels": 1024},
         r"auxiliary_head\.in_channels=1024 with in_index=2.*: 256 for these"),
        ("mmseg", {"auxiliary_head.in_index": 4}, r"in_index=4, but .* returns 4 maps"),
    ],
)  # fmt: skip
def test_channels_that_do_not_fit_are_named_before_the_first_step(
    backbone: dict, scope: str, change: dict, message: str
) -> None:
    cfg = config(scope, (detector if scope == "mmdet" else segmentor)(backbone))
    cfg.merge_from_dict({f"model.{key}": value for key, value in change.items()})
    with pytest.raises(ConfigError, match=message):
        build_model(cfg)


def test_channels_that_fit_pass_in_every_way_heads_take_them() -> None:
    model = segmentor(TIMM)
    head = {"type": "FCNHead", "channels": 8, "num_classes": 3}
    for how in (
        {"in_channels": [256, 512], "in_index": [-2, -1], "input_transform": "resize_concat"},
        {"in_channels": 512, "in_index": -1},
    ):
        cfg = config("mmseg", model | {"decode_head": head | how, "auxiliary_head": None})
        with torch.no_grad():
            assert build_model(cfg)(torch.zeros(1, 3, 64, 64)).shape[1] == 3
    many = model | {"auxiliary_head": [model["auxiliary_head"], model["auxiliary_head"]]}
    build_model(config("mmseg", many))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plugins": [{"cfg": {"type": "mmattn.SEE"}, "stages": (0,)}]}, "mean 'mmattn.SE'"),
        ({"inner": {"type": "ResNt", "depth": 18}}, "ResNt.*Did you mean 'ResNet'"),
        ({"inner": {"type": "ResNet", "dept": 18}},
         "unexpected argument 'dept' for ResNet. Did you mean 'depth'"),
        ({"plugin": []}, "unexpected argument 'plugin' for WithPlugins. Did you mean 'plugins'"),
        ({"plugins": [{"cfg": {"type": "mmattn.SE", "reduktion": 4}, "stages": (0,)}]},
         "unexpected argument 'reduktion' for SE. Did you mean 'reduction'"),
    ],
)  # fmt: skip
def test_mistakes_inside_with_plugins_are_named(change: dict, message: str) -> None:
    cfg = config("mmdet", detector({**RESNET, **change}))
    with pytest.raises(ConfigError, match=message):
        build_model(cfg)


def test_preflight_looks_inside_too() -> None:
    from mmattn.config.registry_scope import enter_scope
    from mmattn.preflight.config_types import check_types

    for change, place in (
        ({"plugins": [{"cfg": {"type": "mmattn.SEE"}}]}, r"backbone\.plugins\[0\]\.cfg\.type"),
        ({"inner": {"type": "ResNt"}}, r"backbone\.inner\.type"),
    ):
        cfg = config("mmdet", detector({**RESNET, **change}))
        enter_scope(cfg)
        with pytest.raises(ConfigError, match=place):
            check_types(cfg, (), "c.py")


@pytest.mark.slow
def test_a_runner_gets_the_same_and_writes_it_down(tmp_path, monkeypatch, repo) -> None:
    from mmattn.config import load_config
    from mmattn.data import write_shapes_dataset
    from mmattn.engine.runner import build_runner

    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setenv("SHAPES_ROOT", str(tmp_path / "shapes"))
    write_shapes_dataset(tmp_path / "shapes", num_train=1, num_val=1, size=(64, 64), seed=0)
    cfg = load_config(repo / "tests" / "support" / "configs" / "tiny_fcn.py")
    for key in ("mean", "std", "bgr_to_rgb"):
        cfg.model.data_preprocessor.pop(key)
    cfg.model.backbone = copy.deepcopy(WRAPPED)
    cfg.model.decode_head.in_channels = 512
    cfg.work_dir, cfg.launcher = str(tmp_path / "run"), "none"
    runner = build_runner(cfg, ("test",))
    assert runner.model.data_preprocessor.mean.flatten().tolist() == pytest.approx(MEAN)
    (written,) = (tmp_path / "run").glob("*/vis_data/config.py")
    assert Config.fromfile(written).model.data_preprocessor.mean == MEAN
    cfg.model.decode_head.in_channels = 64
    with pytest.raises(ConfigError, match=r"in_channels=64 with in_index=3"):
        build_runner(cfg, ("test",))


def test_necks_behind_each_other_have_to_agree() -> None:
    from mmdet.models.necks import FPN

    from mmattn.projects.dynamic_head import DynamicHead

    model = nn.Module()
    model.backbone = nn.Identity()
    fpn = FPN([8, 16], 32, 2)
    model.neck = nn.Sequential(fpn, DynamicHead(32, 32, 1))
    check_channels(model)
    model.neck = nn.Sequential(fpn, DynamicHead(64, 32, 1))
    with pytest.raises(ConfigError, match=r"x\.py: model\.neck\.1\.in_channels=64.*FPN.*of 32"):
        check_channels(model, "x.py")
