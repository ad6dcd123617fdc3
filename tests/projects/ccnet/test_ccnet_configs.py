"""Promise: every config of configs/ccnet builds a model that trains, and can be dumped and read."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config, ConfigDict
from mmengine.optim import PolyLR
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmattn.config import load_config
from mmattn.inference import build_model
from mmattn.projects.ccnet import CrissCrossAttention

FOLDER = Path(__file__).resolve().parents[3] / "configs" / "ccnet"


def committed() -> list[Path]:
    """The configs under version control; a draft that lies beside them promises nothing yet."""
    command = ["git", "ls-files", "--", "*.py"]
    try:
        listed = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # not a checkout
        return sorted(FOLDER.glob("*.py"))
    return sorted(FOLDER / name for name in listed.stdout.split() if (FOLDER / name).exists())


CONFIGS = committed()
SEMANTIC = [path for path in CONFIGS if path.name.startswith("ccnet_")]
MASK_RCNN = [path for path in CONFIGS if path.name.startswith("mask-rcnn_")]
SIZE = (64, 64)
# An eighth of the width makes a ResNet-101 train in a moment.
WIDTHS = ("channels", "in_channels", "out_channels", "fc_out_channels", "conv_out_channels")


def names(paths: list[Path]) -> dict:
    return {"argnames": "path", "argvalues": paths, "ids": [path.stem for path in paths]}


def narrowed(cfg, divisor: int = 8):
    """``cfg`` with every width divided; the backbone's follow from its base."""
    if isinstance(cfg, dict):
        cfg = ConfigDict({key: narrowed(value, divisor) for key, value in cfg.items()})
        for key in set(WIDTHS) & set(cfg):
            widths = cfg[key]
            cfg[key] = (
                [w // divisor for w in widths] if isinstance(widths, list) else widths // divisor
            )
        if "depth" in cfg:
            base = cfg.get("base_channels", 64)
            cfg.update(stem_channels=cfg.get("stem_channels", base) // divisor)
            cfg.update(base_channels=base // divisor)
    elif isinstance(cfg, (list, tuple)) and not all(isinstance(item, int) for item in cfg):
        cfg = [narrowed(item, divisor) for item in cfg]
    return cfg


def build(cfg: Config) -> nn.Module:
    """The config's model, narrowed where it is a ResNet, without pretrained weights."""
    if "depth" in cfg.model.backbone:
        cfg.model = narrowed(cfg.model)
    if "size" in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = SIZE
    model = build_model(cfg)
    for module in model.modules():
        if isinstance(module, CrissCrossAttention):
            nn.init.ones_(module.gamma)
    return model.train()


def check_training(model: nn.Module, losses: dict) -> None:
    """The loss is finite and every trainable parameter hears of it."""
    loss, _ = model.parse_losses(losses)
    assert loss.isfinite()
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(**names(SEMANTIC))
def test_semantic_model_trains_and_predicts(path: Path) -> None:
    cfg = load_config(path)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = build(cfg)
        classes = model.decode_head.num_classes
        labels = torch.randint(0, classes, (2, 1, *SIZE))
        labels[:, :, :4] = 255
        meta = {"img_shape": SIZE, "ori_shape": SIZE, "pad_shape": SIZE}
        samples = [SegDataSample(gt_sem_seg=PixelData(data=x), metainfo=meta) for x in labels]
        images = torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8)
        batch = model.data_preprocessor({"inputs": list(images), "data_samples": samples}, True)
        check_training(model, model(**batch, mode="loss"))
        model.eval()
        with torch.no_grad():
            result = model.test_step({"inputs": [images[0]], "data_samples": [samples[0]]})
        assert result[0].seg_logits.data.shape == (classes, *SIZE)


@pytest.mark.parametrize(**names(MASK_RCNN))
def test_mask_rcnn_trains_with_attention_in_its_backbone(path: Path) -> None:
    cfg = load_config(path)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = build(cfg)
        inputs = demo_mm_inputs(2, [[3, 96, 96], [3, 80, 96]], num_classes=80, with_mask=True)
        check_training(model, model(**model.data_preprocessor(inputs, True), mode="loss"))
    attention = [m for m in model.modules() if isinstance(m, CrissCrossAttention)]
    assert len(attention) == 1
    assert attention[0].recurrence == 2
    assert attention[0].gamma.grad.any()


@pytest.mark.parametrize(**names(CONFIGS))
def test_config_round_trips_and_names_what_exists(path: Path, tmp_path: Path) -> None:
    cfg = load_config(path)
    cfg.dump(tmp_path / "dumped.py")
    assert Config.fromfile(tmp_path / "dumped.py").to_dict() == cfg.to_dict()
    with (
        DATASETS.switch_scope_and_registry(cfg.default_scope) as datasets,
        TRANSFORMS.switch_scope_and_registry(cfg.default_scope) as transforms,
    ):
        for split in ("train", "val", "test"):
            dataset = cfg[f"{split}_dataloader"].dataset
            for part in dataset.get("datasets", [dataset]):
                assert datasets.get(part.type) is not None, part.type
                for step in part.pipeline:
                    assert transforms.get(step.type) is not None, step.type


@pytest.mark.parametrize(**names(CONFIGS))
def test_header_tells_paper_and_command(path: Path) -> None:
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert "arXiv:1811.11721" in header
    assert f"configs/ccnet/{path.name}" in header or "make demo" in header
    assert "eproduced" in header or "mmattn train" in header or "tools/" in header


def test_metafile_lists_every_config() -> None:
    metafile = yaml.safe_load((FOLDER / "metafile.yml").read_text(encoding="utf-8"))
    listed = {model["Name"]: model["Config"] for model in metafile["Models"]}
    assert {path.stem for path in CONFIGS} <= set(listed), "a new config needs an entry there"
    for name, config in listed.items():
        assert config == f"configs/ccnet/{name}.py"
        assert (FOLDER / f"{name}.py").exists(), config


@pytest.mark.parametrize(**names(SEMANTIC))
def test_crop_of_data_and_model_agree(path: Path) -> None:
    cfg = load_config(path)
    crops = {
        tuple(step.crop_size)
        for part in cfg.train_dataloader.dataset.get("datasets", [cfg.train_dataloader.dataset])
        for step in part.pipeline
        if step.type == "RandomCrop"
    }
    size = tuple(cfg.model.data_preprocessor.size)
    assert crops <= {size}  # a dataset of small images needs no crop
    assert path.stem.endswith(f"-{size[0]}x{size[1]}")


def test_authors_config_has_their_schedule_and_their_scales() -> None:
    """lr = 0.01 (1 - i / 60000)^0.9, and 0.7 + randint(0, 14) / 10 of 1024 x 2048 images."""
    cfg = load_config(FOLDER / "ccnet_r101-d8-authors_4xb2-60k_cityscapes-769x769.py")
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    (schedule,) = cfg.param_scheduler
    assert (schedule.type, schedule.end, schedule.by_epoch) == ("PolyLR", 60000, False)
    arguments = {key: value for key, value in schedule.items() if key not in ("type", "by_epoch")}
    scheduler = PolyLR(optimizer, **{**arguments, "end": 600}, by_epoch=False)
    for step in range(600):
        expected = 0.01 * (1 - step / 599) ** 0.9  # mmengine's is at its end at the last step
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-6, abs=1e-8)
        optimizer.step()
        scheduler.step()
    assert expected == 0

    resize = next(s for s in cfg.train_dataloader.dataset.pipeline if "Resize" in s.type)
    image = np.zeros((1024, 2048, 3), np.uint8)
    seen = set()
    for scale in resize.scales:
        transform = TRANSFORMS.build(
            {**resize, "type": "mmcv.RandomChoiceResize", "scales": [scale]}
        )
        seen.add(transform({"img": image})["img"].shape[:2])
    # OpenCV rounds the product of side and factor.
    expected = [0.7 + draw / 10 for draw in range(15)]
    assert seen == {(round(1024 * f), round(2048 * f)) for f in expected}
    assert len(resize.scales) == 15
