"""Promise: the authors' and mmdet's checkpoints load strictly, compute the same, convert back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io.convert import convert_checkpoint, find_converter
from tests.projects.dynamic_head.official_networks import Official

OFFICIAL, MMDET = "dynamic-head-official", "dynamic-head-mmdet"
WIDTH, CHANNELS, CLASSES = 8, 32, 3
CONFIGS = {
    "atss": "mmattn::dynamic_head/atss_r50_fpn_dyhead_1x_coco.py",
    "retinanet": "mmattn::dynamic_head/retinanet_r50_fpn_dyhead_1x_coco.py",
    "faster-rcnn": "mmattn::dynamic_head/faster-rcnn_r50_fpn_dyhead_1x_coco.py",
}
SMALL: dict[str, Any] = {
    "backbone.base_channels": WIDTH,
    "backbone.stem_channels": WIDTH,
    "neck.0.in_channels": [WIDTH * 2**level for level in range(2, 6)],
    "neck.0.out_channels": CHANNELS,
    "neck.1.in_channels": CHANNELS,
    "neck.1.out_channels": CHANNELS,
    "neck.1.num_blocks": 2,
}
DENSE: dict[str, Any] = {
    "bbox_head.in_channels": CHANNELS,
    "bbox_head.feat_channels": CHANNELS,
    "bbox_head.num_classes": CLASSES,
}
TWO_STAGES: dict[str, Any] = {
    "rpn_head.in_channels": CHANNELS,
    "rpn_head.feat_channels": CHANNELS,
    "roi_head.bbox_roi_extractor.out_channels": CHANNELS,
    "roi_head.bbox_head.in_channels": CHANNELS,
    "roi_head.bbox_head.fc_out_channels": 64,
    "roi_head.bbox_head.num_classes": CLASSES,
}


@pytest.fixture(scope="module")
def small(build: Callable[..., nn.Module]) -> Callable[[str], nn.Module]:
    """The config's detector, narrow."""

    def make(detector: str) -> nn.Module:
        parts = TWO_STAGES if detector == "faster-rcnn" else DENSE
        return build(CONFIGS[detector], **SMALL, **parts).eval()

    return make


def official(detector: str) -> Official:
    """The authors' network with weights and statistics as after a training."""
    torch.manual_seed(0)
    network = Official(detector, WIDTH, CHANNELS, CLASSES).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
                nn.init.uniform_(module.weight, 0.5, 1)
                nn.init.normal_(module.bias, std=0.2)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        for number, scale in enumerate(network.head.scales if detector == "atss" else ()):
            scale.scale.fill_(1 + 0.1 * number)
    return network


@pytest.mark.parametrize("detector", CONFIGS)
def test_official_detector_loads_strictly_and_computes_the_same(small, detector: str) -> None:
    theirs = official(detector)
    conversion = convert_checkpoint({"model": theirs.published_state()})
    assert conversion is not None
    assert conversion.converter == OFFICIAL
    assert not conversion.left_out
    assert CONFIGS[detector].removeprefix("mmattn::") in conversion.note
    ours = small(detector)
    ours.load_state_dict(conversion.state_dict, strict=True)
    images = torch.randn(2, 3, 128, 256)
    with torch.no_grad():
        features = ours.extract_feat(images)
        head = ours.rpn_head if detector == "faster-rcnn" else ours.bbox_head
        outputs, expected = head(features), theirs(images)
        for level, wanted in zip(chain(*outputs), chain(*expected), strict=True):
            assert wanted.std() > 1e-3
            torch.testing.assert_close(level, wanted, rtol=1e-3, atol=1e-4)
        if detector == "faster-rcnn":
            rois = torch.randn(3, CHANNELS, 7, 7)
            found = ours.roi_head.bbox_head(rois)
            for values, wanted in zip(found, theirs.regions(rois), strict=True):
                torch.testing.assert_close(values, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("detector", CONFIGS)
def test_official_weights_convert_there_and_back(small, detector: str) -> None:
    state = official(detector).published_state()
    ours = small(detector)
    converted = convert_checkpoint(state)
    assert converted is not None
    ours.load_state_dict(converted.state_dict, strict=True)
    back = convert_checkpoint(ours.state_dict(), OFFICIAL, reverse=True)
    assert back is not None
    assert_same(back.state_dict, state)


@pytest.mark.parametrize("name", [OFFICIAL, MMDET])
def test_the_command_recognises_the_layout(small, name: str, tmp_path: Path, capsys) -> None:
    from mmattn.cli.convert import main
    from mmattn.io import read_checkpoint

    if name == OFFICIAL:
        state = {"model": official("atss").published_state(), "iteration": 89999}
    else:
        converted = convert_checkpoint(small("atss").state_dict(), MMDET, reverse=True)
        assert converted is not None
        state = {"state_dict": converted.state_dict, "meta": {}}
    torch.save(state, tmp_path / "theirs.pth")
    assert main([str(tmp_path / "theirs.pth"), str(tmp_path / "ours.safetensors")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: ")
    assert "0 left out" in said
    ours = read_checkpoint(tmp_path / "ours.safetensors")["state_dict"]
    assert "neck.1.dyhead_blocks.1.spatial_conv_low.norm.bias" in ours


def assert_same(state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(state[key], value), key


def test_constants_that_older_files_hold_are_left_out() -> None:
    state = official("atss").published_state()
    state["pixel_mean"] = torch.zeros(3, 1, 1)
    state["anchor_generator.cell_anchors.0"] = torch.zeros(1, 4)
    conversion = convert_checkpoint(state)
    assert conversion is not None
    assert conversion.left_out == ("pixel_mean", "anchor_generator.cell_anchors.0")


def test_a_key_that_is_not_known_is_refused() -> None:
    state = official("atss").published_state()
    state["head.cls_tower.0.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"not of this layout: head\.cls_tower\.0\.weight"):
        convert_checkpoint(state)


SWIN = "mmattn::dynamic_head/atss_swin-t_fpn_dyhead_ms-2x_coco.py"


@pytest.fixture(scope="module")
def swin(build: Callable[..., nn.Module]) -> nn.Module:
    """A narrow Swin Transformer; depths and windows are Swin-T's."""
    torch.manual_seed(0)
    wide = {"backbone.embed_dims": 12, "neck.0.in_channels": [24, 48, 96]}
    return build(SWIN, **{**SMALL_NECK, **DENSE, **wide}).eval()


SMALL_NECK = {key: value for key, value in SMALL.items() if key.startswith("neck.")}


def test_swin_weights_convert_there_and_back(swin: nn.Module) -> None:
    state = swin.state_dict()
    back = convert_checkpoint(state, OFFICIAL, reverse=True)
    assert back is not None
    names = set(back.state_dict)
    start = "backbone.backbone.bottom_up"
    assert {
        f"{start}.patch_embed.proj.weight",
        f"{start}.layers.2.blocks.5.attn.qkv.weight",
        f"{start}.layers.2.blocks.5.attn.relative_position_bias_table",
        f"{start}.layers.2.blocks.5.attn.relative_position_index",
        f"{start}.layers.2.blocks.5.mlp.fc1.bias",
        f"{start}.layers.0.downsample.reduction.weight",
        f"{start}.norm1.weight",
    } <= names
    forth = convert_checkpoint(back.state_dict)
    assert forth is not None
    assert forth.converter == OFFICIAL
    assert "atss_swin-t_fpn_dyhead_ms-2x_coco.py" in forth.note
    assert_same(forth.state_dict, state)
    swin.load_state_dict(forth.state_dict, strict=True)


def test_patches_are_merged_as_in_the_authors_swin(swin: nn.Module) -> None:
    """mmdet's own converter of Swin Transformers agrees, and so does the merging itself."""
    from mmdet.models.backbones.swin import swin_converter

    back = convert_checkpoint(swin.state_dict(), OFFICIAL, reverse=True)
    assert back is not None
    start = "backbone.backbone.bottom_up."
    theirs = {k.removeprefix(start): v for k, v in back.state_dict.items() if k.startswith(start)}
    expected = swin_converter(theirs)
    own = {f"backbone.{key}": value for key, value in swin.backbone.state_dict().items()}
    assert_same(dict(expected), own)

    x = torch.randn(2, 6, 8, 12)  # (N, H, W, C)
    rows = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    merged = torch.cat(rows, -1).flatten(1, 2)
    norm = (theirs[f"layers.0.downsample.norm.{name}"] for name in ("weight", "bias"))
    wanted = nn.functional.layer_norm(merged, (48,), *norm)
    wanted = wanted @ theirs["layers.0.downsample.reduction.weight"].T
    with torch.no_grad():
        found, _ = swin.backbone.stages[0].downsample(x.flatten(1, 2), (6, 8))
    torch.testing.assert_close(found, wanted)


def test_mmdet_s_names_are_kept_and_the_network_is_named(build: Callable[..., nn.Module]) -> None:
    options = {**SMALL, **DENSE, "backbone.base_channels": WIDTH}
    theirs = build("mmdet::dyhead/atss_r50-caffe_fpn_dyhead_1x_coco.py", **options)
    state = theirs.state_dict()
    conversion = convert_checkpoint({"state_dict": state, "meta": {}})
    assert conversion is not None
    assert conversion.converter == MMDET
    assert_same(conversion.state_dict, state)
    assert "in_channels=32, out_channels=32, num_blocks=2" in conversion.note
    assert "pred_kernel_size=1" in conversion.note
    name = "mmattn::dynamic_head/atss_r50_fpn_dyhead-mmdet_1x_coco.py"
    ours = build(name, **options, **{"bbox_head.pred_kernel_size": 1})
    ours.load_state_dict(conversion.state_dict, strict=True)
    back = convert_checkpoint(ours.state_dict(), MMDET, reverse=True)
    assert back is not None
    assert_same(back.state_dict, state)


def test_from_mmdet_s_layout_to_the_authors_biases_are_zero(small) -> None:
    state = small("atss").state_dict()
    bare = {k: v for k, v in state.items() if not k.endswith(".conv.bias") or "spatial" not in k}
    assert len(bare) == len(state) - 6
    back = convert_checkpoint(bare, OFFICIAL, reverse=True)
    assert back is not None
    for number in range(3):
        bias = back.state_dict[f"backbone.dyhead_tower.1.DyConv.{number}.conv.bias"]
        assert torch.equal(bias, torch.zeros(CHANNELS))


def test_biases_have_no_place_in_mmdet_s_neck(small) -> None:
    state = small("atss").state_dict()
    key = "neck.1.dyhead_blocks.1.spatial_conv_low.conv.bias"
    back = convert_checkpoint(state, MMDET, reverse=True)
    assert back is not None
    assert key not in back.state_dict, "it is 0 and can go"
    state[key] = torch.full((CHANNELS,), 0.25)
    with pytest.raises(CheckpointError, match=r"biases up to 0\.25.*no place"):
        convert_checkpoint(state, MMDET, reverse=True)
    assert find_converter(state) is None, "with biases it is nobody's layout but ours"
    with pytest.raises(CheckpointError, match=r"neck=\[FPN, DynamicHead\]"):
        convert_checkpoint({"conv1.weight": torch.zeros(1)}, MMDET, reverse=True)
