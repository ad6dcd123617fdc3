"""``build_model``: the right scope, no download, SyncBN gone, names of the classes known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from mmattn.config import load_config
from mmattn.errors import CheckpointError, ConfigError
from mmattn.inference import build_model
from mmattn.io import LoadReport

TINY = {
    "model.pretrained": "open-mmlab://resnet50_v1c",  # as upstream has it; must not be fetched
    "model.backbone.depth": 18,
    "model.backbone.base_channels": 8,
    "model.backbone.stem_channels": 8,
    "model.decode_head.in_channels": 64,
    "model.decode_head.channels": 8,
    "model.auxiliary_head.in_channels": 32,
    "model.auxiliary_head.channels": 8,
}


@pytest.fixture
def fcn(monkeypatch: pytest.MonkeyPatch):
    def no_network(*args, **kwargs):
        raise AssertionError(f"tried to download {args}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    return load_config("mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py", dict(TINY))


def test_a_segmentor_is_built_for_inference_without_a_download(fcn) -> None:
    model = build_model(fcn)
    assert not model.training
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in model.modules())
    assert len(model.dataset_meta["classes"]) == 19, "Cityscapes' names, from the config's dataset"
    assert fcn.model.pretrained == TINY["model.pretrained"], "the caller's config was changed"
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 19, 4, 4)


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"checkpoint": "https://a.b/pvt.pth"}, None),  # mmdet's PVT gives no type
        ({"type": "Pretrained", "checkpoint": "torchvision://resnet50"}, None),
        ({"type": "Pretrained_Part", "checkpoint": "clip.pth"}, None),
        (
            [{"type": "Kaiming"}, {"type": "Pretrained", "checkpoint": "a.pth"}],
            [{"type": "Kaiming"}],
        ),
        ([{"type": "Pretrained", "checkpoint": "a.pth"}], None),
        ({"type": "Normal", "std": 0.01}, {"type": "Normal", "std": 0.01}),
        (None, None),
    ],
)
def test_an_initialisation_that_reads_a_file_is_left_out(given, left) -> None:
    from mmattn.inference.model import strip_pretrained

    assert strip_pretrained({"neck": [{"init_cfg": given}]}) == {"neck": [{"init_cfg": left}]}


def test_weights_of_detectron2_are_left_out() -> None:
    from mmattn.inference.model import strip_pretrained

    model = {"type": "Detectron2Wrapper", "detector": {"weights": "detectron2://R-50.pkl"}}
    assert strip_pretrained(model)["detector"] == {"weights": ""}


def test_a_checkpoint_brings_weights_and_names(fcn, tmp_path: Path) -> None:
    first = build_model(fcn)
    meta = {"dataset_meta": {"CLASSES": ("a", "b")}}
    torch.save({"state_dict": first.state_dict(), "meta": meta}, tmp_path / "w.pth")
    second = build_model(fcn, tmp_path / "w.pth")
    assert second.dataset_meta == {"classes": ("a", "b")}
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_weights_of_another_model_are_refused(fcn, tmp_path: Path) -> None:
    torch.save({"state_dict": {"other.weight": torch.zeros(1)}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth"):
        build_model(fcn, tmp_path / "w.pth")


def test_weights_for_a_part_of_the_model_are_refused_unless_allowed(fcn, tmp_path: Path) -> None:
    state = build_model(fcn).state_dict()
    headless = {k: v for k, v in state.items() if not k.startswith("decode_head.conv_seg.")}
    torch.save({"state_dict": headless}, tmp_path / "headless.pth")
    with pytest.raises(CheckpointError, match=r"headless\.pth: 2 of .* missing: decode_head"):
        build_model(fcn, tmp_path / "headless.pth")
    build_model(fcn, tmp_path / "headless.pth", allow_partial=True)
    other = {**state, "decode_head.conv_seg.bias": torch.zeros(77)}
    torch.save({"state_dict": other}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other shape: decode_head\.conv_seg\.bias \(77,\)"):
        build_model(fcn, tmp_path / "other.pth")


def test_a_head_that_only_training_needs_may_be_missing() -> None:
    report = LoadReport(1, 3, missing=("auxiliary_head.conv.weight",))
    assert report.uninitialized == ()
    assert LoadReport(1, 3, missing=("decode_head.conv.weight",)).uninitialized


def test_an_error_of_a_part_names_the_config(fcn) -> None:
    fcn.model.backbone.plugins = [{"cfg": {"type": "mmattn.CBMA"}, "position": "after_conv2"}]
    with pytest.raises(ConfigError, match=rf"^{re.escape(fcn.filename)}: plugins\[0\] in BasicB"):
        build_model(fcn)


@pytest.mark.parametrize(
    ("written", "meant"), [("FCNHed", "'FCNHead'"), ("YOLOXHead", "'mmdet.YOLOXHead'")]
)
def test_an_unknown_type_is_named_with_its_neighbours_in_every_scope(
    fcn, written: str, meant: str
) -> None:
    fcn.model.decode_head.type = written
    with pytest.raises(ConfigError, match=f"{written}.*Did you mean {meant}"):
        build_model(fcn)


def test_a_detector_is_built_in_its_own_scope() -> None:
    model = build_model(load_config("mmdet::yolox/yolox_nano_8xb8-300e_coco.py"))
    assert type(model).__module__.startswith("mmdet.")
    assert model.dataset_meta["classes"][0] == "person"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"model.decode_head.dropout_ration": 0.1}, "argument 'dropout_ration'.*'dropout_ratio'"),
        ({"model.backbone.dillations": (1, 1, 1, 1)}, "argument 'dillations'.*'dilations'"),
    ],
)
def test_a_key_that_a_part_does_not_take_is_named(option: dict, message: str) -> None:
    cfg = load_config("mmattn::ccnet/ccnet_r18-d8_4xb2-40k_cityscapes-512x1024.py", option)
    with pytest.raises(ConfigError, match=message):
        build_model(cfg)


def test_a_missing_checkpoint_is_told_before_the_model_is_built(
    fcn, tmp_path: Path, monkeypatch
) -> None:
    def build(*args, **kwargs):
        raise AssertionError("the model was built")

    monkeypatch.setattr("mmengine.registry.MODELS.build", build)
    for name in ("iter_5.pth", "best_mIoU_iter_5.pth", "notes.txt"):
        (tmp_path / name).touch()
    said = (
        rf"{tmp_path}/iter_6\.pth\. The folder {tmp_path} holds best_mIoU_iter_5.pth, iter_5.pth\."
    )
    with pytest.raises(CheckpointError, match=said):
        build_model(fcn, tmp_path / "iter_6.pth")
    for name, kind in (("model.onnx", "an ONNX file"), ("model.xml", "an OpenVINO file")):
        (tmp_path / name).touch()
        with pytest.raises(CheckpointError, match=rf"{name} is {kind}; give the \.pth or"):
            build_model(fcn, tmp_path / name)


def test_a_detector_whose_train_returns_nothing(monkeypatch: pytest.MonkeyPatch, fcn) -> None:
    """As mmdet's distillation detectors: their ``train()`` forgets to return the detector."""
    from mmseg.models import EncoderDecoder

    monkeypatch.setattr(
        EncoderDecoder, "train", lambda self, mode=True: nn.Module.train(self, mode) and None
    )
    model = build_model(fcn)
    assert isinstance(model, EncoderDecoder)
    assert not model.training


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("gpu", "device 'gpu': torch knows no device of that name. Here there "),
        ("cuda:99", "device 'cuda:99' cannot be used on this machine ("),
    ],
)
def test_a_device_that_is_not_there_is_named_before_weights_are_read(fcn, device, said) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        build_model(fcn, "missing.pth", device)
