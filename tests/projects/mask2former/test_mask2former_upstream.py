"""Promise: mmdet's own config with one line changed loads its weights and gives its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.errors import ConfigError
from mmattn.io import load_state_dict
from mmattn.projects.mask2former.detection import Mask2FormerHead
from mmattn.projects.mask2former.detection.mmdet_arguments import from_mmdet
from mmattn.registry import MODELS
from tests.support.mask2former_weights import add_noise

UPSTREAM = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py"


def upstream_head() -> dict[str, Any]:
    """The arguments that mmdet's detector hands to its head."""
    cfg = load_config(UPSTREAM).model
    head = cfg.panoptic_head.to_dict()
    head.pop("type")
    return {**head, "train_cfg": cfg.train_cfg.to_dict()}


@pytest.mark.slow
def test_one_line_changed_gives_the_same_results(tmp_path: Path) -> None:
    theirs = load_config(UPSTREAM)
    (tmp_path / "ours.py").write_text(
        f"_base_ = [{UPSTREAM!r}]\n"
        "model = dict(panoptic_head=dict(type='mmattn.Mask2FormerHead'))\n"
    )
    ours = load_config(tmp_path / "ours.py")
    enter_scope(ours)
    models: list[Any] = []
    torch.manual_seed(0)
    for cfg in (theirs, ours):
        cfg.model.backbone.init_cfg = None
        models.append(MODELS.build(cfg.model).eval())
    add_noise(models[0].panoptic_head)
    assert isinstance(models[1].panoptic_head, Mask2FormerHead)
    assert type(models[0].panoptic_head) is not Mask2FormerHead
    state = models[0].state_dict()
    assert load_state_dict(models[1], state, strict=True).complete
    data = {"inputs": [torch.randint(0, 256, (3, 128, 160), dtype=torch.uint8)]}
    from mmdet.structures import DetDataSample

    found = []
    for model in models:
        meta = {"img_shape": (128, 160), "ori_shape": (100, 125), "scale_factor": (1.28, 1.28)}
        data["data_samples"] = [DetDataSample(metainfo=meta)]  # type: ignore[assignment]
        packed = model.data_preprocessor(data, False)
        features = model.extract_feat(packed["inputs"])
        with torch.no_grad():
            classes, masks = model.panoptic_head.predict(features, packed["data_samples"])
            result = model.predict(packed["inputs"], packed["data_samples"])[0]
        found.append((classes, masks, result.pred_instances, result.pred_panoptic_seg.sem_seg))
    for a, b in zip(found[0][:2], found[1][:2], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
    torch.testing.assert_close(found[0][2].scores, found[1][2].scores, rtol=1e-3, atol=1e-4)
    same = found[0][3] == found[1][3]
    assert same.float().mean() > 0.999


def test_numbers_of_mmdet_are_taken_over() -> None:
    head = upstream_head()
    head["transformer_decoder"]["num_layers"] = 3
    head["loss_dice"]["loss_weight"] = head["train_cfg"]["assigner"]["match_costs"][2]["weight"] = (
        4.0
    )
    found = from_mmdet(head)
    assert found["decoder_layers"] == 3
    assert (found["encoder_layers"], found["encoder_ffn_channels"]) == (6, 1024)
    assert found["loss_cfg"] == {
        "class_gain": 2.0, "mask_gain": 5.0, "dice_gain": 4.0, "no_object_weight": 0.1,
        "num_points": 12544, "oversample_ratio": 3.0, "importance_sample_ratio": 0.75,
    }  # fmt: skip
    with torch.device("meta"):
        model = Mask2FormerHead(**head)
    assert len(model.transformer_decoder.layers) == 3
    assert from_mmdet({"num_queries": 3}) == {"num_queries": 3}


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("pixel_decoder.type", "PixelDecoder"),
        ("pixel_decoder.encoder.layer_cfg.ffn_cfg.ffn_drop", 0.1),
        ("enforce_decoder_input_project", True),
        ("train_cfg.assigner.type", "MaxIoUAssigner"),
        ("loss_mask.use_sigmoid", False),
        ("out_channels", 128),
        ("pixel_decoder.speed", 3),
    ],
)
def test_what_is_another_network_is_an_error(place: str, value: Any) -> None:
    head = upstream_head()
    *outer, last = place.split(".")
    inner = head
    for part in outer:
        inner = inner[part]
    inner[last] = value
    with pytest.raises(ConfigError, match=place):
        from_mmdet(head)
