"""Promise: a size is a pair wherever it was written, and one option sets it in every pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmattn.config import find_config, load_config
from mmattn.config.image_size import size_problems
from mmattn.config.options import parse_cfg_options
from mmattn.config.walk import walk
from mmattn.errors import ConfigError
from mmattn.preflight.config_keys import unused_blocks
from mmattn.preflight.run import check_config

FOLDER = "mmattn::folder/yolov12-n_1xb16-100e_folder-640x640.py"
BCCD = "mmattn::yolov12/yolov12-n_1xb16-120e_bccd-320x256.py"
SIZED = ("scale", "size", "img_scale")
SECTIONS = ("train_dataloader", "val_dataloader", "test_dataloader", "custom_hooks")


def sizes(cfg: Any, sections: tuple[str, ...] = SECTIONS) -> dict[str, set[Any]]:
    """Section -> the sizes of its transforms."""
    return {
        section: {
            value[key]
            for _, value in walk(cfg.get(section))
            if isinstance(value, dict) and "type" in value
            for key in SIZED
            if key in value
        }
        for section in sections
    }


@pytest.mark.parametrize(
    "name",
    [
        *(FOLDER, BCCD),
        "mmattn::yolov12/yolov12-n_1xb8-300e_eight-images-416x416.py",
        "mmattn::yolov12/yolov12-n_1xb16-20e_shapes-256x192.py",
        "mmattn::yolov12/yolov12-l_8xb32-600e_coco.py",
    ],
)
def test_one_option_changes_training_validation_and_test(name: str) -> None:
    options = parse_cfg_options(["image_size=96,160"])
    before, cfg = load_config(name), load_config(name, options)
    height, width = before.image_size
    there = {s: found for s, found in sizes(before).items() if found}
    assert there and all(found == {(width, height)} for found in there.values())
    assert {"train_dataloader", "val_dataloader", "test_dataloader"} <= set(there)
    assert {s: found for s, found in sizes(cfg).items() if found} == {s: {(160, 96)} for s in there}
    assert cfg.image_size == (96, 160)
    assert str((width, height)) not in cfg.pretty_text  # no variable of the file is left behind


def test_variables_follow_a_size_that_is_set_by_its_key(tmp_path: Path) -> None:
    """The config that a run leaves said that nothing uses its test_pipeline."""
    both = {f"{s}_dataloader.dataset.pipeline.1.scale": (64, 64) for s in ("val", "test")}
    cfg = load_config(FOLDER, both)
    assert cfg.test_pipeline[1].scale == (64, 64)
    dumped = tmp_path / "dumped.py"
    dumped.write_text(cfg.pretty_text)
    assert unused_blocks(load_config(dumped), str(dumped)) == []


def test_one_number_is_a_square() -> None:
    cfg = load_config(BCCD, {"image_size": 224})
    assert sizes(cfg)["test_dataloader"] == {(224, 224)}


@pytest.mark.parametrize("size", [[1, 2, 3], "big", [320.5, 320], [0, 320], True])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match=r"image_size=.*give height and width in pixels"):
        load_config(FOLDER, {"image_size": size})


def test_a_transform_of_another_size_is_left_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mine.py"
    step = "dict(type='Resize', scale=(1333, 800), keep_ratio=True)"
    path.write_text(
        f"_base_ = [{str(find_config(BCCD))!r}]\n"
        f"test_dataloader = dict(dataset=dict(pipeline=[{step}]))\n"
    )
    cfg = load_config(path, {"image_size": [96, 160]})
    assert sizes(cfg)["test_dataloader"] == {(1333, 800)}
    assert "image_size=96,160 leaves test_dataloader.dataset.pipeline[0].scale=(1333, 800)" in (
        caplog.text
    )


def test_sizes_whose_order_is_not_known_are_refused(tmp_path: Path) -> None:
    """mmdet's large-scale jittering crops and pads the batch to the size as well."""
    with pytest.raises(ConfigError, match=r"crop_size.* has the size \(1024, 1024\) as well"):
        load_config(
            "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py", {"image_size": [512, 512]}
        )


def test_a_config_without_the_variable_has_no_such_option() -> None:
    with pytest.raises(ConfigError, match=r"nothing reads the key 'image_size'"):
        load_config("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py", {"image_size": [96, 160]})


def test_a_config_without_the_variable_is_told_the_keys_of_its_sizes() -> None:
    key = r"train_dataloader\.dataset\.pipeline\.2\.scale=WIDTH,HEIGHT .*val_dataloader\.dataset"
    with pytest.raises(ConfigError, match=key):
        load_config("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", {"image_size": 160})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        (BCCD, "val_dataloader.dataset.pipeline.1.scale"),
        (BCCD, "val_dataloader.dataset.pipeline.2.size"),
        (BCCD, "train_dataloader.dataset.pipeline.0.scale"),
        ("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py",
         "train_dataloader.dataset.pipeline.0.img_scale"),
        ("mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
         "train_dataloader.dataset.pipeline.3.crop_size"),
    ],
)  # fmt: skip
def test_a_pair_of_the_command_line_is_a_tuple(name: str, key: str) -> None:
    """mmcv and mmdet take lists for choices, and fail on them in a worker, behind an epoch."""
    value: Any = load_config(name, parse_cfg_options([f"{key}=160,160"]))
    for part in key.split("."):
        value = value[int(part)] if part.isdigit() else value[part]
    assert value == (160, 160) and isinstance(value, tuple)


def test_pairs_of_json_are_tuples_and_choices_stay_lists(tmp_path: Path) -> None:
    steps = [
        {"type": "RandomChoiceResize", "scales": [480, 512]},  # two shorter sides
        {"type": "RandomChoiceResize", "scales": [[480, 1333], [512, 1333]]},
        {"type": "RandomResize", "scale": [[1333, 640], [1333, 800]]},
        {"type": "Resize", "scale": [640, 480]},
    ]
    path = tmp_path / "mine.json"
    anchors = {"model": {"type": "A", "anchor_generator": {"type": "B", "scales": [4, 8]}}}
    path.write_text(json.dumps({"val_dataloader": {"dataset": {"pipeline": steps}}, **anchors}))
    cfg = load_config(path)
    found = [s.get("scales", s.get("scale")) for s in cfg.val_dataloader.dataset.pipeline]
    assert found == [[480, 512], [(480, 1333), (512, 1333)], [(1333, 640), (1333, 800)], (640, 480)]
    assert cfg.model.anchor_generator.scales == [4, 8]


@pytest.mark.parametrize("value", [(160, 160, 160), [160], "160x160", (0, 160), (-5, 3)])
def test_what_is_no_size_is_told_with_its_key(value: Any) -> None:
    (problem,) = size_problems("val[1]", {"type": "Resize", "scale": value})
    assert problem.startswith(f"val[1].scale={value!r} is no size") and "640,480" in problem


def test_choices_of_a_side_are_sizes() -> None:
    """As in mmseg's Mask2Former configs."""
    assert size_problems("p", {"type": "RandomChoiceResize", "scales": [256, 307, 358]}) == []


def test_a_wrong_size_is_refused_before_training() -> None:
    options = {"val_dataloader.dataset.pipeline.1.scale": [160, 160, 160]}
    with pytest.raises(
        ConfigError, match=r"val_dataloader\.dataset\.pipeline\[1\]\.scale.*no size"
    ):
        check_config(load_config(BCCD, options), ("train", "val"))
