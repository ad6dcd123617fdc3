"""Promise: the backbones of ``mmattn.layers`` train and predict in detectors and segmentors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn
from torchvision.models import mobilenet_v2

from mmattn.inference import build_model
from mmattn.io import load_state_dict, read_checkpoint, save_safetensors
from mmattn.io.convert import convert_checkpoint, weights_of
from mmattn.registry import MODELS
from tests.support.tiny_models import tiny_batch, tiny_detector, tiny_segmentor

SCOPES = ("mmdet", "mmseg")


def timm_backbone(name: str, **arguments: Any) -> dict:
    return {"type": "mmattn.TimmBackbone", "model_name": name, **arguments}


def plugged(inner: dict, *entries: dict) -> dict:
    return {"type": "mmattn.WithPlugins", "inner": inner, "plugins": list(entries)}


def eca(**where: Any) -> dict:
    return {"cfg": {"type": "mmattn.ECA"}, **where}


BACKBONES = {
    "timm": (timm_backbone("mobilenetv3_small_050"), [16, 8, 16, 24, 288]),
    "timm_channels_last": (
        timm_backbone("mambaout_femto", dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)),
        [8, 16, 24, 32],
    ),
    "timm_with_plugins": (
        plugged(
            timm_backbone("edgenext_xx_small", frozen_stages=1),
            eca(stages=(False, True, True, True)),
            eca(at="timm_model.stages_2.blocks.0"),
        ),
        [24, 48, 88, 168],
    ),
    "resnet_with_plugins": (
        plugged(
            {
                "type": "ResNet",
                "depth": 18,
                "base_channels": 8,
                "frozen_stages": 1,
                # Or nothing before a norm would get a gradient in the first step.
                "zero_init_residual": False,
            },
            eca(at="layer*.*.bn2"),
            eca(stages=(3,)),
        ),
        [8, 16, 32, 64],
    ),
}


def model_of(scope: str, backbone: dict, channels: list[int]) -> nn.Module:
    make = tiny_segmentor if scope == "mmseg" else tiny_detector
    cfg = {"default_scope": scope, "model": make(backbone, channels)}
    torch.manual_seed(0)
    return build_model(Config(cfg))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", BACKBONES)
def test_it_trains_but_for_what_is_frozen_and_predicts(scope: str, name: str) -> None:
    model = model_of(scope, *BACKBONES[name])
    model.train()
    segmentation = scope == "mmseg"
    data = model.data_preprocessor(tiny_batch(segmentation=segmentation), training=True)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    assert loss.isfinite()
    loss.backward()
    for key, parameter in model.backbone.named_parameters():
        assert parameter.requires_grad or parameter.grad is None, f"{key} is frozen"
        unused = not segmentation and key.startswith(("plugins.map0", "plugins.map1"))
        if key.startswith("plugins.") and not unused:
            assert parameter.grad is not None and parameter.grad.any(), f"no gradient for {key}"
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = model.train_step(tiny_batch(segmentation=segmentation), OptimWrapper(optimizer))
    assert all(value.isfinite().all() for value in losses.values())
    moved = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
    assert any("backbone" in key for key in moved)
    assert not any(key in moved for key, p in model.named_parameters() if not p.requires_grad)
    model.eval()
    predictions = model.test_step(tiny_batch(segmentation=segmentation))
    assert len(predictions) == 2
    if segmentation:
        assert predictions[0].pred_sem_seg.data.shape == (1, 64, 64)
    else:
        assert predictions[0].pred_instances.bboxes.shape[1] == 4


# Real weights: torchvision's ImageNet MobileNetV2.

MOBILENETS = {
    "mmseg": ({"type": "mmseg.MobileNetV2", "out_indices": (1, 2, 4, 6)}, [24, 32, 96, 320]),
    "mmdet": ({"type": "mmdet.MobileNetV2", "out_indices": (1, 2, 4, 7)}, [24, 32, 96, 1280]),
}
LAST = {"mmseg": (3, 6, 13, 17), "mmdet": (3, 6, 13, 18)}


@pytest.fixture(scope="module")
def weights(shared_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """torchvision's network with the real weights, and files of them for both libraries."""
    source = read_checkpoint(shared_data / "weights" / "mobilenetv2_imagenet_features.safetensors")
    theirs = mobilenet_v2(weights=None)
    assert not theirs.load_state_dict(weights_of(source), strict=False).unexpected_keys
    files = {}
    for scope in SCOPES:
        files[scope] = tmp_path_factory.mktemp("weights") / f"{scope}.safetensors"
        conversion = convert_checkpoint(source, f"torchvision-mobilenetv2-{scope}")
        save_safetensors(files[scope], conversion.state_dict)
    return theirs.eval(), files


def pretrained(scope: str, files: dict) -> dict:
    return MOBILENETS[scope][0] | {
        "init_cfg": {"type": "Pretrained", "checkpoint": str(files[scope])}
    }


@pytest.mark.parametrize("scope", SCOPES)
@torch.no_grad()
def test_identity_blocks_leave_real_features_as_they_are(scope: str, weights) -> None:
    """Fresh criss-cross attention is the identity: the pretrained features pass, bit for bit."""
    theirs, files = weights
    block = {"type": "mmattn.CrissCrossAttention"}
    backbone = plugged(
        pretrained(scope, files),
        {"cfg": block, "stages": (True, True, True, True)},
        {"cfg": block, "at": ["layer3.*", "layer5.0.conv.*" if scope == "mmseg" else "layer5.0"]},
    )
    network = MODELS.build(backbone)
    network.init_weights()
    network.eval()
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("plugins.")}
    source = read_checkpoint(files[scope])
    source = weights_of(source)
    assert own.keys() == source.keys(), "all of the file, and nothing else, is the network's"
    assert all(torch.equal(value, source[key]) for key, value in own.items())
    plain = MODELS.build(MOBILENETS[scope][0])
    assert load_state_dict(plain, own, strict=True).complete
    x, maps = torch.randn(1, 3, 64, 96), []
    y = x
    for number, layer in enumerate(theirs.features):
        y = layer(y)
        if number in LAST[scope]:
            maps.append(y)
    for a, b in zip(network(x), maps, strict=True):
        assert torch.equal(a, b)
    network.plugins["map1_criss_cross_attention"].gamma.fill_(1)
    changed = [not torch.equal(a, b) for a, b in zip(network(x), maps, strict=True)]
    assert changed == [False, True, False, False], "and the blocks are really there"


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("with_blocks", [False, True], ids=["plain", "with_plugins"])
def test_real_weights_train_in_a_detector_and_a_segmentor(
    scope: str, with_blocks: bool, weights
) -> None:
    _, files = weights
    backbone = pretrained(scope, files)
    if with_blocks:
        backbone = plugged(backbone, eca(stages=(1, 2, 3)), eca(at="layer4.*"))
    make = tiny_segmentor if scope == "mmseg" else tiny_detector
    from mmengine.registry import MODELS as ROOT
    from mmengine.registry import DefaultScope

    DefaultScope.get_instance(f"real-{scope}-{with_blocks}", scope_name=scope)
    facts = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}
    model = ROOT.build(Config(make(backbone, MOBILENETS[scope][1], **facts))._cfg_dict)
    model.init_weights()
    source = weights_of(read_checkpoint(files[scope]))
    state = model.backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in source.items())
    model.train()
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    losses = [
        model.train_step(tiny_batch(segmentation=scope == "mmseg"), optimizer) for _ in range(3)
    ]
    total = [sum(v.item() for k, v in one.items() if k == "loss") for one in losses]
    assert total[-1] < total[0], f"three steps on one batch lower the loss: {total}"
