"""Promise: checkpoints of others become our weights, all of them, and nothing in a file runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmattn.cli.convert import main
from mmattn.config import load_config
from mmattn.errors import CheckpointError
from mmattn.inference import build_model
from mmattn.io import read_checkpoint, save_safetensors
from mmattn.io.convert import convert_checkpoint
from mmattn.io.swin_layout import relative_position_index
from tests.conftest import REPO
from tests.support.mask2former_weights import build_on_meta, swin_tiny

FOLDER = REPO / "configs/mask2former"
OFFICIAL, TRANSFORMERS = "mask2former-official", "mask2former-transformers"
SCALES = {
    "r50": "mask2former_r50_8xb2-50e_coco-panoptic",
    "r101": "mask2former_r101_8xb2-50e_coco-instance",
    "swin-t": "mask2former_swin-t_8xb2-50e_coco-instance",
    "swin-s": "mask2former_swin-s_8xb2-50e_coco-panoptic",
    "swin-b": "mask2former_swin-b_8xb2-50e_coco-panoptic",
    "swin-l": "mask2former_swin-l_16xb1-100e_coco-panoptic",
    "r50 semantic": "mask2former_r50_8xb2-90k_cityscapes-semantic",
    "swin-t semantic": "mask2former_swin-t_8xb2-160k_ade20k-semantic",
}
# Keys that the published files are known to have, one of each kind, and ours for them.
KNOWN = {
    "backbone.stem.conv1.norm.running_var": "backbone.bn1.running_var",
    "backbone.res2.0.shortcut.weight": "backbone.layer1.0.downsample.0.weight",
    "backbone.res2.0.shortcut.norm.bias": "backbone.layer1.0.downsample.1.bias",
    "backbone.res5.2.conv3.norm.weight": "backbone.layer4.2.bn3.weight",
    "backbone.res4.5.conv2.weight": "backbone.layer3.5.conv2.weight",
    "sem_seg_head.pixel_decoder.input_proj.0.0.bias": "pixel_decoder.input_convs.0.conv.bias",
    "sem_seg_head.pixel_decoder.input_proj.2.1.weight": "pixel_decoder.input_convs.2.gn.weight",
    "sem_seg_head.pixel_decoder.transformer.level_embed": "pixel_decoder.level_encoding.weight",
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.5.self_attn.sampling_offsets.bias": (
        "pixel_decoder.encoder.layers.5.self_attn.sampling_offsets.bias"
    ),
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.0.linear2.weight": (
        "pixel_decoder.encoder.layers.0.ffn.layers.1.weight"
    ),
    "sem_seg_head.pixel_decoder.transformer.encoder.layers.1.norm2.bias": (
        "pixel_decoder.encoder.layers.1.norms.1.bias"
    ),
    "sem_seg_head.pixel_decoder.adapter_1.weight": "pixel_decoder.lateral_convs.0.conv.weight",
    "sem_seg_head.pixel_decoder.layer_1.norm.weight": "pixel_decoder.output_convs.0.gn.weight",
    "sem_seg_head.pixel_decoder.mask_features.bias": "pixel_decoder.mask_feature.bias",
    "sem_seg_head.predictor.transformer_cross_attention_layers.8.multihead_attn.in_proj_weight": (
        "transformer_decoder.layers.8.cross_attn.attn.in_proj_weight"
    ),
    "sem_seg_head.predictor.transformer_cross_attention_layers.0.norm.weight": (
        "transformer_decoder.layers.0.norms.0.weight"
    ),
    "sem_seg_head.predictor.transformer_self_attention_layers.2.self_attn.out_proj.bias": (
        "transformer_decoder.layers.2.self_attn.attn.out_proj.bias"
    ),
    "sem_seg_head.predictor.transformer_ffn_layers.3.linear1.weight": (
        "transformer_decoder.layers.3.ffn.layers.0.0.weight"
    ),
    "sem_seg_head.predictor.transformer_ffn_layers.4.norm.bias": (
        "transformer_decoder.layers.4.norms.2.bias"
    ),
    "sem_seg_head.predictor.decoder_norm.weight": "transformer_decoder.post_norm.weight",
    "sem_seg_head.predictor.query_feat.weight": "query_feat.weight",
    "sem_seg_head.predictor.level_embed.weight": "level_embed.weight",
    "sem_seg_head.predictor.class_embed.bias": "cls_embed.bias",
    "sem_seg_head.predictor.mask_embed.layers.2.weight": "mask_embed.4.weight",
}
KNOWN_SWIN = {
    "backbone.patch_embed.proj.weight": "backbone.patch_embed.projection.weight",
    "backbone.layers.2.blocks.5.attn.qkv.bias": "backbone.stages.2.blocks.5.attn.w_msa.qkv.bias",
    "backbone.layers.0.blocks.1.mlp.fc1.weight": (
        "backbone.stages.0.blocks.1.ffn.layers.0.0.weight"
    ),
    "backbone.layers.3.blocks.0.attn.relative_position_bias_table": (
        "backbone.stages.3.blocks.0.attn.w_msa.relative_position_bias_table"
    ),
    "backbone.norm2.weight": "backbone.norm2.weight",
}


def model_of(scale: str) -> nn.Module:
    return build_on_meta(load_config(FOLDER / f"{SCALES[scale]}.py"))


def filled(model: nn.Module) -> dict[str, Tensor]:
    """Random weights for a model without memory, counters and constants as they are."""
    random = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        if key.endswith("relative_position_index"):
            window = int(len(value) ** 0.5)
            state[key] = relative_position_index(window)
        elif value.is_floating_point():
            state[key] = torch.rand(value.shape, generator=random) + 0.1
        else:
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
    return state


def back(state: dict[str, Tensor], name: str = OFFICIAL) -> dict[str, Tensor]:
    return convert_checkpoint(state, name, reverse=True).state_dict


def write_official(path: Path, state: dict[str, Tensor], **more: Any) -> Path:
    """Write a file as the authors publish it: a pickle of numpy's arrays."""
    arrays = {key: value.numpy() for key, value in state.items()}
    content = {"model": arrays, "__author__": "third_party", "matching_heuristics": True, **more}
    path.write_bytes(pickle.dumps(content, 4))
    return path


@pytest.fixture(scope="module")
def r50() -> dict[str, Tensor]:
    return filled(model_of("r50"))


def test_published_file_loads_strictly_into_its_config(tmp_path: Path, r50, capsys) -> None:
    theirs = back(r50)
    theirs["criterion.empty_weight"] = torch.ones(134)
    file, out = write_official(tmp_path / "model_final.pkl", theirs), tmp_path / "m.safetensors"
    config = str(FOLDER / f"{SCALES['r50']}.py")
    assert main([str(file), str(out)]) == 0
    told = capsys.readouterr().out
    assert f"{OFFICIAL}: {len(theirs) - 1} keys converted, 1 left out" in told
    assert "left out: criterion.empty_weight" in told
    assert "CC-BY-NC-4.0" in told
    assert "configs/mask2former/mask2former_r50*_coco-panoptic.py" in told
    cfg = load_config(config)
    cfg.model.backbone.init_cfg = None
    model = build_model(cfg, out)  # strict
    for key, value in model.state_dict().items():
        assert torch.equal(value, r50[key]), key


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(scale, marks=() if scale in ("r50", "swin-t semantic") else pytest.mark.slow)
        for scale in SCALES
    ],
)
@pytest.mark.parametrize("name", [OFFICIAL, TRANSFORMERS])
def test_every_key_of_every_scale_has_a_place_and_a_way_back(name: str, scale: str) -> None:
    model = model_of(scale)
    state = model.state_dict()
    theirs = back(state, name)
    assert not set(theirs) & (
        set(state)
        - {f"backbone.norm{i}.weight" for i in range(4)}
        - {f"backbone.norm{i}.bias" for i in range(4)}
        - {f"backbone.patch_embed.norm.{entry}" for entry in ("weight", "bias")}
    )
    suffix = "-semantic" if scale.endswith("semantic") else ""
    found = convert_checkpoint(theirs, name + suffix if suffix else None)
    assert found.converter == name + suffix
    assert not found.left_out
    expected = {key: x.shape for key, x in state.items() if "num_batches_tracked" not in key}
    assert {
        key: x.shape for key, x in found.state_dict.items() if "num_batches_tracked" not in key
    } == expected
    backbone = SCALES[scale].split("_")[1]
    assert f"mask2former_{backbone}*_" in found.note


@pytest.mark.parametrize("name", [OFFICIAL, TRANSFORMERS])
@pytest.mark.parametrize("scale", ["r50", "swin-t"])
def test_values_come_back(name: str, scale: str) -> None:
    state = filled(model_of(scale))
    found = convert_checkpoint(back(state, name)).state_dict
    for key, value in found.items():
        assert torch.equal(value, state[key]), key


def test_known_keys_go_where_they_belong(r50) -> None:
    theirs = back(r50)
    for there, here in KNOWN.items():
        ours = here if here.startswith("backbone.") else f"panoptic_head.{here}"
        assert torch.equal(theirs[there], r50[ours]), there
    swin = filled(model_of("swin-t"))
    theirs = back(swin)
    for there, here in KNOWN_SWIN.items():
        assert torch.equal(theirs[there], swin[here]), there


def test_patch_merging_computes_the_same(swin_converted: nn.Module) -> None:
    """The authors join neighbours as columns of rows, mmdet's layer by ``unfold``."""
    torch.manual_seed(0)
    layer = swin_converted.stages[0].downsample
    theirs = back(
        {f"backbone.stages.0.downsample.{k}": x for k, x in layer.state_dict().items()}
        | {"panoptic_head.cls_embed.weight": torch.ones(81, 4)}
        | {"backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table": torch.ones(169, 3)}
    )
    x = torch.randn(1, 6, 8, 96)
    neighbours = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], dim=-1)
    names = {k: theirs[f"backbone.layers.0.downsample.{k}"] for k in layer.state_dict()}
    joined = nn.functional.layer_norm(
        neighbours.flatten(1, 2), (384,), names["norm.weight"], names["norm.bias"]
    )
    with torch.no_grad():
        found, size = layer(x.flatten(1, 2), (6, 8))
    assert size == (3, 4)
    expected = joined @ names["reduction.weight"].t()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def swin_converted() -> nn.Module:
    from mmdet.models.backbones import SwinTransformer

    torch.manual_seed(0)
    backbone = SwinTransformer(depths=(1, 1, 1, 1), num_heads=(3, 6, 12, 24))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    backbone.eval()  # it returns nothing
    return backbone


def test_index_of_relative_positions_is_mmdets(swin_converted: nn.Module) -> None:
    index = swin_converted.state_dict()["stages.0.blocks.0.attn.w_msa.relative_position_index"]
    assert torch.equal(relative_position_index(7), index)


def test_another_index_of_relative_positions_is_an_error() -> None:
    theirs = back(filled(model_of("swin-t")))
    name = "backbone.layers.1.blocks.0.attn.relative_position_index"
    convert_checkpoint({key: x for key, x in theirs.items() if key != name})  # it can be computed
    theirs[name] = theirs[name].flip(0)
    with pytest.raises(CheckpointError, match=r"relative_position_index is not the index"):
        convert_checkpoint(theirs)


@pytest.mark.parametrize("name", [OFFICIAL, TRANSFORMERS])
def test_classes_of_cityscapes_are_put_things_first_by_name(name: str) -> None:
    """The authors' order is that of the labels: road first, person the twelfth."""
    config = "mask2former_r50_8xb2-90k_cityscapes-panoptic"
    state = filled(build_on_meta(load_config(FOLDER / f"{config}.py")))
    bias, ours = "panoptic_head.cls_embed.bias", torch.arange(20.0)
    state[bias] = ours
    key = {OFFICIAL: "sem_seg_head.predictor.class_embed", TRANSFORMERS: "class_predictor"}[name]
    assert torch.equal(back(state, name)[f"{key}.bias"], ours)
    theirs = back(state, f"{name}-cityscapes")
    assert theirs[f"{key}.bias"].tolist() == [*range(8, 19), *range(8), 19]
    found = convert_checkpoint(theirs, f"{name}-cityscapes")
    assert torch.equal(found.state_dict[bias], ours)
    assert "things first" in found.note
    # 19 classes of whoever: nothing is reordered, and what may be meant is said.
    found = convert_checkpoint(theirs)
    assert found.converter == name
    assert torch.equal(found.state_dict[bias], theirs[f"{key}.bias"])
    assert "in the file's order. If it is a panoptic network for cityscapes" in found.note
    assert f"--converter {name}-cityscapes" in found.note
    semantic = convert_checkpoint(theirs, f"{name}-semantic").state_dict
    assert torch.equal(semantic["decode_head.cls_embed.bias"], theirs[f"{key}.bias"])
    with pytest.raises(CheckpointError, match=r"19 classes under panoptic_head, and .* ade20k has"):
        convert_checkpoint(theirs, f"{name}-ade20k")


def test_order_of_ade20k_is_that_of_the_datasets() -> None:
    from mmdet.datasets import ADE20KInstanceDataset
    from mmseg.datasets import ADE20KDataset

    names = [name.strip() for name in ADE20KDataset.METAINFO["classes"]]
    order = ADE20KInstanceDataset.METAINFO["classes"]
    bias = torch.tensor([float(names.index(name)) for name in order])
    head = "panoptic_head.cls_embed."
    theirs = torch.arange(151.0)
    from mmattn.projects.mask2former.convert import _with_class_order

    found = _with_class_order({f"{head}weight": theirs[:, None], f"{head}bias": theirs}, "ade20k")
    assert torch.equal(found[f"{head}bias"][:100], bias)
    assert sorted(found[f"{head}bias"][100:150].tolist() + bias.tolist()) == [*range(150)]


def test_configs_that_notes_name_are_there() -> None:
    from mmattn.projects.mask2former import convert

    backbones = {*convert._SWINS.values(), *convert._RESNETS.values()}
    for (head, classes), (data, few) in convert._CONFIGS.items():
        for backbone in backbones:
            found = list(FOLDER.glob(f"mask2former_{backbone}*_{data}.py"))
            assert bool(found) == (not few or backbone in few), (backbone, data)
        (file, *_) = FOLDER.glob(f"mask2former_r50*_{data}.py")
        model = load_config(file).model[head.rstrip(".")]
        parts = ("num_things_classes", "num_stuff_classes", "num_classes")
        assert sum(model.get(part, 0) for part in parts) == classes


def test_files_of_the_first_version(r50) -> None:
    theirs = {
        key.replace("pixel_decoder.", "").replace("query_feat", "static_query"): value
        for key, value in back(r50).items()
    }
    found = convert_checkpoint(theirs).state_dict
    assert torch.equal(
        found["panoptic_head.query_feat.weight"], r50["panoptic_head.query_feat.weight"]
    )
    assert len(found) == len(theirs)


def test_unknown_key_is_an_error_not_a_loss(r50) -> None:
    for key in ("sem_seg_head.pixel_decoder.input_proj.0.2.weight", "backbone.res6.0.conv1.weight"):
        with pytest.raises(CheckpointError, match="1 keys are not of this layout"):
            convert_checkpoint({**back(r50), key: torch.zeros(1)})


# mmdet's and mmseg's


def test_files_of_mmdet_3_are_kept_and_of_mmdet_2_renamed(r50) -> None:
    found = convert_checkpoint({"state_dict": r50, "meta": {}})
    assert found.converter == "mask2former-mmdet"
    assert found.state_dict.keys() == r50.keys()
    assert "can be used as it is" in found.note
    older = {}
    for key, value in r50.items():
        if ".layers." in key and key.startswith("panoptic_head."):
            own = "0" if "pixel_decoder" in key else "1"
            key = key.replace(".self_attn.", f".attentions.{own}.")
            key = key.replace(".cross_attn.", ".attentions.0.").replace(".ffn.", ".ffns.0.")
        older[key] = value
    assert older.keys() != r50.keys()
    found = convert_checkpoint(older)
    assert found.converter == "mask2former-mmdet"
    assert found.state_dict.keys() == r50.keys()
    for key, value in found.state_dict.items():
        assert torch.equal(value, r50[key]), key


# transformers'


@pytest.mark.slow
def test_outputs_are_those_of_transformers(tmp_path: Path) -> None:
    """From its file on, with a Swin, windows that do not fit, and a batch of two."""
    pytest.importorskip("transformers", reason="transformers, the oracle, is not installed")
    from transformers import SwinConfig

    stages = ["stage1", "stage2", "stage3", "stage4"]
    swin = SwinConfig(depths=[2, 2, 6, 2], out_features=stages, drop_path_rate=0.3)
    theirs = swin_tiny(80, backbone_config=swin)
    theirs.save_pretrained(tmp_path)
    content = read_checkpoint(tmp_path / "model.safetensors")
    for state in (content, theirs.state_dict()):  # names in memory differ from those in files
        found = convert_checkpoint(state)
        assert found.converter == TRANSFORMERS
        save_safetensors(tmp_path / "ours.safetensors", found.state_dict)
        cfg = load_config(FOLDER / f"{SCALES['swin-t']}.py")
        cfg.model.backbone.init_cfg = None
        model = build_model(cfg, tmp_path / "ours.safetensors").eval()
    images = torch.randn(2, 3, 128, 160)
    with torch.no_grad():
        expected = theirs(images)
        classes, masks = model.panoptic_head(model.extract_feat(images))
    torch.testing.assert_close(classes, expected.class_queries_logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(masks, expected.masks_queries_logits, rtol=0, atol=1e-4)


# Files that would do something if they were unpickled


class Call:
    """Pickles as the instruction to call ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return (self.function, self.arguments)


@pytest.mark.parametrize("place", ["a weight", "another weight", "beside the weights"])
def test_nothing_of_a_pickle_runs(tmp_path: Path, r50, place: str, capsys) -> None:
    canary, out = tmp_path / "canary", tmp_path / "out.safetensors"
    call = Call(eval, f"open({str(canary)!r}, 'w').close()")
    state = dict(back(r50))
    arrays: dict[str, Any] = {key: value.numpy() for key, value in list(state.items())[:40]}
    content: dict[str, Any] = {"model": arrays, "__author__": "third_party"}
    if place == "beside the weights":
        content["trainer"] = call
    else:
        arrays["criterion.empty_weight" if place == "another weight" else next(iter(state))] = call
    file = tmp_path / "armed.pkl"
    file.write_bytes(pickle.dumps(content, 4))
    code = main([str(file), str(out)])
    assert (code != 0) == (place != "beside the weights") == (not out.exists())
    assert not canary.exists()
    told = capsys.readouterr().err
    if code:
        assert str(file) in told and "builtins.eval" in told, told
        assert "--i-trust-this-file" in told
    pickle.loads(file.read_bytes())
    assert canary.exists(), "this payload does nothing, so that it did not run proves nothing"
