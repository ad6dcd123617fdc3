"""A small CCNet, real files exported from it, and images to compare on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

CONFIG = """
default_scope = 'mmseg'
norm_cfg = dict(type='BN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], bgr_to_rgb=True, size=(64, 96)),
    backbone=dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8,
                  num_stages=3, out_indices=(0, 1, 2), strides=(1, 2, 1), dilations=(1, 1, 2),
                  norm_cfg=norm_cfg),
    decode_head=dict(type='mmattn.CCHead', in_channels=32, in_index=2, channels=16, num_classes=10,
                     norm_cfg=norm_cfg, align_corners=True,
                     loss_decode=dict(type='CrossEntropyLoss')),
    test_cfg=dict(mode='whole'))
pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')]
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmattn.ShapesDataset', data_root={root!r}, pipeline=pipeline,
                 data_prefix=dict(img_path='images/val', seg_map_path='annotations/val')))
"""


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    from mmattn.data import write_shapes_dataset

    root = tmp_path_factory.mktemp("export") / "shapes"
    return write_shapes_dataset(root, num_train=1, num_val=3, size=(64, 96), seed=3)


@pytest.fixture(scope="session")
def small_config(shapes, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "ccnet_small.py"
    path.write_text(CONFIG.replace("{root!r}", repr(str(shapes))))
    return path


@pytest.fixture(scope="session")
def images(shapes) -> list[np.ndarray]:
    from mmattn.export import read_images

    return read_images([shapes / "images" / "val"])


@pytest.fixture(scope="session")
def small_model(small_config) -> torch.nn.Module:
    return build(Config.fromfile(small_config))


def build(cfg: Config) -> torch.nn.Module:
    """The config's model, with random weights that all matter."""
    from mmattn.inference import build_model

    torch.manual_seed(0)
    return as_if_trained(build_model(cfg))


@pytest.fixture(name="build", scope="session")
def build_fixture() -> Callable[[Config], torch.nn.Module]:
    """``build`` for tests: a conftest cannot be imported by name, there are several."""
    return build


@torch.no_grad()
def as_if_trained(model: torch.nn.Module) -> torch.nn.Module:
    """Wake what starts at 0: residual branches, attention, classifier, statistics of norms."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.0)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    if hasattr(model.decode_head, "conv_seg"):
        torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=0.1)
        torch.nn.init.normal_(model.decode_head.conv_seg.bias, std=0.1)
    if hasattr(model.decode_head, "cca"):
        gamma = model.decode_head.cca.gamma
        getattr(gamma, "scale", gamma).fill_(0.7)  # mmseg's is a module with a scale
    return model


@pytest.fixture(scope="session")
def dynamic_file(small_model, tmp_path_factory) -> Path:
    from mmattn.export import export_onnx

    path = tmp_path_factory.mktemp("export") / "dynamic.onnx"
    export_onnx(small_model, path, shape=(64, 96), dynamic=True, config="small", checkpoint="w")
    return path
