"""Promise: the authors' checkpoints load with no key left over, and ours go back to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.bevanet import BEVANet

SEGMENTATION, IMAGENET = "bevanet-official", "bevanet-official-imagenet"
# Keys that the authors' files are known to have, one of each kind, and ours for them.
KNOWN = {
    "conv1.0.bias": "backbone.stem.0.conv.bias",
    "conv1.4.running_var": "backbone.stem.2.norm.running_var",
    "layer1.1.bn2.weight": "backbone.layer1.1.conv2.norm.weight",
    "layer2.0.downsample.0.weight": "backbone.layer2.0.shortcut.conv.weight",
    "layer3_semantic.2.conv1.weight": "backbone.semantic3.2.conv1.conv.weight",
    "layer3_detail.1.bn1.bias": "backbone.detail3.1.conv1.norm.bias",
    "compression3.0.weight": "backbone.guide3.compress.conv.weight",
    "fuse_sd_4.f_x.1.weight": "backbone.guide4.embed_detail.norm.weight",
    "fuse_sd_4.f_y.0.weight": "backbone.guide4.embed_semantic.conv.weight",
    "layer4_down_semantic.0.downsample.1.bias": "backbone.semantic4.0.shortcut.norm.bias",
    "layer4_semantic_1.layer_scale_1": "backbone.semantic4.1.attention.scale",
    "layer4_semantic_2.norm2.weight": "backbone.semantic4.3.mlp.norm.weight",
    "norm4_semantic_2.weight": "backbone.semantic4.4.weight",
    "layer4_semantic_1.attn.proj_2.pwconv.bias": "backbone.semantic4.1.attention.project_out.bias",
    "layer4_detail.attn.spatial_gating_unit.DW_D_conv_v.dwconv.weight": (
        "backbone.detail4.1.attention.gate.vertical.weight"
    ),
    "layer4_detail.attn.spatial_gating_unit.FS_kernel.fc_expand_big_h.1.dwconv.bias": (
        "backbone.detail4.1.attention.gate.select.expand.horizontal.depthwise.bias"
    ),
    "layer4_detail.attn.spatial_gating_unit.FS_kernel.conv_squeeze.weight": (
        "backbone.detail4.1.attention.gate.select.spatial.weight"
    ),
    "layer4_detail.mlp.fc1.pwconv.weight": "backbone.detail4.1.mlp.expand.weight",
    "norm4_detail.bias": "backbone.detail4.2.bias",
    "layer5_detail_semantic.0.bn3.weight": "backbone.detail5.conv3.norm.weight",
    "layer5_detail_boundary.0.downsample.0.weight": "backbone.boundary5.shortcut.conv.weight",
    "layer5_down_semantic_seg.0.conv2.weight": "backbone.semantic5.0.conv2.conv.weight",
    "norm5_semantic_1_seg.bias": "backbone.semantic5.2.bias",
    "spp.bn.weight": "backbone.context.attention.norm.weight",
    "spp.layer_scale_lska": "backbone.context.attention.scale",
    "spp.process_lska.2.weight": "backbone.context.process.2.conv.weight",
    "dfm.conv_i.0.running_mean": "backbone.fusion.semantic.norm.running_mean",
    "dfm.out.2.weight": "backbone.fusion.out.conv.weight",
    "head.bn1.weight": "decode_head.main.conv.norm.weight",
    "head.conv2.bias": "decode_head.conv_seg.bias",
    "seghead_ds.conv1.weight": "decode_head.auxiliary.conv.conv.weight",
    "seghead_db.bn2.bias": "decode_head.boundary.norm.bias",
    "seghead_db.conv2.weight": "decode_head.boundary_seg.weight",
}


@pytest.fixture(scope="module")
def theirs(golden_narrow, golden_state) -> dict[str, Tensor]:
    """A segmentation file of the authors: their loss wrapper's state."""
    return {**golden_state(golden_narrow), "sem_loss.criterion.weight": torch.ones(19)}


def test_every_key_has_a_place_and_a_way_back(golden_narrow, theirs) -> None:
    there = convert_checkpoint(theirs)
    assert (there.converter, there.left_out) == (SEGMENTATION, ("sem_loss.criterion.weight",))
    assert load_state_dict(golden_narrow, there.state_dict, strict=True).complete
    back = convert_checkpoint(there.state_dict, SEGMENTATION, reverse=True).state_dict
    assert [*back, "sem_loss.criterion.weight"] == list(theirs)
    assert all(torch.equal(back[key], theirs[key]) for key in back)


def test_prefix_may_be_missing(theirs) -> None:
    bare = {key.removeprefix("model."): value for key, value in theirs.items() if "model." in key}
    there = convert_checkpoint({"state_dict": bare})
    assert there.converter == SEGMENTATION
    assert set(there.state_dict) == set(convert_checkpoint(theirs).state_dict)


def test_known_keys_go_where_they_belong(theirs) -> None:
    converted = convert_checkpoint(theirs).state_dict
    for old, new in KNOWN.items():
        assert torch.equal(converted[new], theirs[f"model.{old}"]), old


def test_unknown_key_is_an_error_not_a_loss(theirs) -> None:
    with pytest.raises(CheckpointError, match=r"1 keys are not of this layout: model\.spp\.scale3"):
        convert_checkpoint({**theirs, "model.spp.scale3.0.weight": torch.zeros(1)})


def test_imagenet_file_fills_all_but_the_end(theirs) -> None:
    end = ("layer5", "norm5", "spp", "dfm", "head", "seghead")
    shared = {
        key.removeprefix("model."): value
        for key, value in theirs.items()
        if key.startswith("model.") and not key.removeprefix("model.").startswith(end)
    }
    own = {f"layer5_{name}_cls.0.conv1.weight": torch.zeros(1) for name in ("down_semantic",)}
    own["linear.weight"] = torch.zeros(1)
    there = convert_checkpoint({**shared, **own})
    assert (there.converter, there.left_out) == (IMAGENET, tuple(own))
    assert "stays as it is initialised" in there.note
    net = BEVANet(channels=8, num_blocks=(2, 2, 3), context_channels=16)
    report = load_state_dict(net, there.state_dict)
    assert not report.unexpected
    assert not report.mismatched
    ours = {"semantic5", "detail5", "boundary5", "context", "fusion"}
    assert {key.split(".")[0] for key in report.missing} == ours
    back = convert_checkpoint(there.state_dict, IMAGENET, reverse=True).state_dict
    assert list(back) == list(shared)
    assert all(torch.equal(back[key], shared[key]) for key in back)
