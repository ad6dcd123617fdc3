"""An upgraded config is the one that mmdet or mmseg ship today, but for what is listed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.config import load_config
from mmattn.config_tools.diff import differences
from mmattn.config_tools.upgrade import upgrade
from mmattn.errors import ConfigError, OutdatedConfigError

OLD = Path(__file__).with_name("old")
SECTIONS = (
    *("model", "train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator"),
    *("test_evaluator", "optim_wrapper", "param_scheduler", "train_cfg", "val_cfg", "test_cfg"),
    *("default_hooks", "custom_hooks", "env_cfg", "visualizer", "load_from", "log_level"),
    *("default_scope", "auto_scale_lr"),
)
#: Old config -> today's, and the settings that differ in effect: the authors changed them.
PAIRS = {
    "faster_rcnn_r50_fpn_1x_coco": ("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", set()),
    "deeplabv3_r50-d8_512x1024_40k_cityscapes": (
        "mmseg::deeplabv3/deeplabv3_r50-d8_4xb2-40k_cityscapes-512x1024.py",
        {"val_dataloader.num_workers", "test_dataloader.num_workers"},
    ),
    "ccnet_r50-d8_512x1024_40k_cityscapes": (
        "mmseg::ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py",
        {"val_dataloader.num_workers", "test_dataloader.num_workers"},
    ),
    "yolox_s_8x8_300e_coco": (
        "mmdet::yolox/yolox_s_8xb8-300e_coco.py",
        {
            *("val_dataloader.batch_size", "test_dataloader.batch_size"),
            *("train_cfg.dynamic_intervals", "default_hooks.checkpoint.save_best"),
            "default_hooks.checkpoint.max_keep_ckpts",
        },
    ),
}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_an_upgraded_config_is_todays(name: str) -> None:
    result = upgrade(OLD / f"{name}.py")
    assert (result.left, result.problems) == ((), ())
    today, known = PAIRS[name]
    theirs = load_config(today).to_dict()
    found = differences(
        {key: theirs[key] for key in SECTIONS if key in theirs},
        {key: result.settings[key] for key in SECTIONS if key in result.settings},
    )
    changed = {one.path: str(one) for one in found if not is_default(one.path, one.sign)}
    assert set(changed) == known, changed


def is_default(path: str, sign: str) -> bool:
    """A setting that today's config writes out and that is its class's default."""
    return path.endswith(("backend_args", "clip_grad", "format_only")) or (
        path.startswith("model.") and sign == "-" and "data_preprocessor" not in path
    )


def test_the_new_file_loads(tmp_path: Path) -> None:
    result = upgrade(OLD / "faster_rcnn_r50_fpn_1x_coco.py")
    new = tmp_path / "new.py"
    new.write_text(result.text("old.py"))
    assert load_config(new).to_dict() == result.settings


def test_an_old_config_is_recognised_wherever_it_is_loaded() -> None:
    with pytest.raises(OutdatedConfigError, match=r"mmdet 2\.x.*mmattn config upgrade"):
        load_config(OLD / "yolox_s_8x8_300e_coco.py")
    with pytest.raises(OutdatedConfigError, match=r"mmseg 0\.x"):
        load_config(OLD / "ccnet_r50-d8_512x1024_40k_cityscapes.py")


def test_what_cannot_be_translated_is_listed(tmp_path: Path) -> None:
    old = tmp_path / "old.py"
    text = (OLD / "faster_rcnn_r50_fpn_1x_coco.py").read_text()
    text = text.replace('dict(type="RandomFlip", flip_ratio=0.5)', 'dict(type="Rotate", level=5)')
    old.write_text(
        text.replace('policy="step"', 'policy="cyclic", cycles=2').replace(
            "flip=False", "flip=True"
        )
    )
    result = upgrade(old)
    shown = result.text("old.py")
    for part in (
        "data.train.pipeline[3]",
        "lr_config.policy='cyclic'",
        "lr_config.cycles=2",
        "flip=True",
    ):
        assert any(part in line for line in result.left), part
        assert part in shown
    compile(shown, "new.py", "exec")


def test_a_config_of_today_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config of mmdet 2\.x"):
        upgrade("mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
