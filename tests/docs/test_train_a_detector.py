"""Promise: docs/train_a_detector.md works as it stands; its commands are run on generated data.

By default the steps run in this process with a network an eighth as wide and for a few iterations;
``-m slow`` runs the trainings of the other networks too.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import logging
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmattn.boxes import FolderDetDataset
from mmattn.cli.main import main
from tests.support.box_folders import write_voc, write_yolo
from tests.support.code_blocks import read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/train_a_detector.md"
BLOCKS = read_code_blocks(GUIDE)
LOADERS = [
    f"{split}_dataloader.{key}"
    for split in ("train", "val", "test")
    for key in ("num_workers=0", "persistent_workers=False")
]
#: The same network, an eighth as wide, on small images; the last of these settings count.
NARROW = [
    "model.backbone.widen_factor=0.125",
    "model.neck.in_channels=[32,64,128]",
    "model.neck.out_channels=16",
    "model.bbox_head.in_channels=16",
    "model.bbox_head.feat_channels=16",
    "model.data_preprocessor.batch_augments=None",
    "train_dataloader.dataset.pipeline.0.img_scale=(64,64)",
    "train_dataloader.dataset.pipeline.1.border=(-32,-32)",
    "train_dataloader.dataset.pipeline.4.scale=(64,64)",
    "val_dataloader.dataset.pipeline.1.scale=(64,64)",
    "test_dataloader.dataset.pipeline.1.scale=(64,64)",
    "train_cfg.max_epochs=1",
    "train_cfg.val_interval=1",
    "default_hooks.checkpoint.interval=1",
    *LOADERS,
]


def commands(heading: str = "") -> list[list[str]]:
    """The words of each command below a heading that begins so."""
    found = [b for b in BLOCKS if b.heading.startswith(heading) and b.language == "bash"]
    return [shlex.split(command) for block in found for command in block.commands]


def run(words: list[str], *options: str) -> str:
    """What a command prints, run in this process, with further settings of the config."""
    program, *rest = words
    assert program == "mmattn"
    rest = [w for word in rest for w in (sorted(map(str, Path().glob(word))) or [word]
                                         if "*" in word else [word])]  # fmt: skip
    if options:
        rest += [*([] if "--cfg-options" in rest else ["--cfg-options"]), *options]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main(rest)
    assert not code, f"{shlex.join(words)}\n{shown.getvalue()}"
    return shown.getvalue()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the guide's data in it; the current directory meanwhile."""
    root = tmp_path_factory.mktemp("guide")
    before, raises = Path.cwd(), logging.raiseExceptions
    logging.raiseExceptions = False  # mmengine keeps loggers whose captured output is closed
    os.chdir(root)
    run(commands()[0])
    write_voc(root / "data/cells", train=6, val=2)
    write_yolo(root / "data/parts", train=6, val=2)
    yield root
    os.chdir(before)
    logging.raiseExceptions = raises


@pytest.fixture(scope="module")
def trained(place: Path) -> str:
    (command,) = commands("3. Train")
    return run(command, *NARROW)


def test_the_check_says_what_was_found(place: Path) -> None:
    (command,) = commands("2. Check")
    out = run(command)
    assert re.search(
        r"train: 30 images in images/train, \d+ objects; COCO JSON \(annotations/", out
    )
    assert "6 classes, from annotations/instances_train.json" in out
    assert re.search(r"star +\d+ instances +[\d.]+% +in +\d+ images", out)
    found = json.loads(Path("work_dirs/found.json").read_text())
    assert found["fits"] and [len(d["classes"]) for d in found["datasets"]] == [6, 6]


@pytest.mark.slow
def test_the_training_says_what_it_set_and_compares_every_class(trained: str, place: Path) -> None:
    shown = " ".join(trained.split())
    assert "bbox_head.num_classes=6; compared by ClasswiseCocoMetric" in shown
    for name in ("circle", "star", "all"):
        assert re.search(rf"\| {name} +\| +\d+ \|", trained), name
    left = (place / "work_dirs/boxes/yolox_tiny_8xb8-300e_coco.py").read_text()
    assert "num_classes=6" in left and "'auto'" not in left
    (folder,) = [f for f in (place / "work_dirs/boxes").glob("2*") if f.is_dir()]
    assert "AP50" in (folder / "results.csv").read_text()


@pytest.mark.slow
def test_the_run_s_own_config_tests(trained: str, place: Path) -> None:
    (command,) = commands("5. Test")
    shown = run(command, "experiment_name=detector-test")
    assert re.search(r"\| star +\| +\d+ \|", shown)


@pytest.mark.slow
def test_rows_are_kept_by_name(trained: str, place: Path) -> None:
    (command,) = commands("4. Start")
    command = [word.replace("epoch_60", "epoch_1") for word in command]
    shown = " ".join(run(command, *NARROW).split())
    assert "rows of 2 classes (star, circle) kept by name, 0 new" in shown
    assert "bbox_head.num_classes=2" in shown


@pytest.mark.slow
def test_the_other_formats_are_checked(place: Path) -> None:
    cells, parts, described = commands("VOC and YOLO")[:3]
    assert "6 images in JPEGImages, 15 objects; Pascal VOC" in run(cells)
    for command in (parts, described):
        out = run(command)
        assert "6 images in images/train, 15 objects; YOLO text" in out and "cell" in out


def test_masks_and_panoptic_maps_are_checked(place: Path) -> None:
    mask_rcnn, rtmdet, mask2former, _ = commands("Instance masks")
    assert "model.roi_head.mask_head.num_classes=6 (the config has 80)" in run(mask_rcnn)
    assert "COCO JSON (annotations/instances_train.json)" in run(rtmdet)
    out = run(mask2former)
    assert "COCO JSON (annotations/panoptic_train.json)" in out
    assert "num_stuff_classes=4" in out and "num_things_classes=6" in out


@pytest.mark.slow
def test_mask2former_trains_on_masks(place: Path) -> None:
    command = commands("Instance masks")[3]
    size = "(64,64)"
    options = (
        *("train_cfg.max_iters=1", "train_cfg.val_interval=1", "param_scheduler=[]"),
        *("model.backbone.depth=18", "model.backbone.init_cfg=None"),
        "model.panoptic_head.in_channels=[64,128,256,512]",
        f"train_dataloader.dataset.pipeline.3.scale={size}",
        f"train_dataloader.dataset.pipeline.4.crop_size={size}",
        *(f"{loader}_dataloader.dataset.pipeline.1.scale={size}" for loader in ("val", "test")),
        *LOADERS,
    )
    assert re.search(r"\| star +\|", run(command, *options))


def test_options_in_the_text_exist() -> None:
    """Every ``data.KEY`` is an argument of the dataset."""
    text = re.sub(r"```.*?```", "", GUIDE.read_text("utf-8"), flags=re.DOTALL)
    inline = " ".join(re.findall(r"`([^`]+)`", text))
    arguments = inspect.signature(FolderDetDataset.__init__).parameters
    found = set(re.findall(r"\bdata\.(\w+)[=.]", inline)) - {"yaml"}
    assert {"layout", "img_dir", "missing_images", "bad_objects", "map_dir", "ann_file"} <= found
    assert found <= set(arguments)


@pytest.mark.slow
def test_the_other_network_trains(place: Path) -> None:
    command = commands("VOC and YOLO")[3]
    short = ["train_cfg.max_epochs=1", "train_cfg.val_interval=1", "model.backbone.init_cfg=None"]
    out = run(command, *short, "train_cfg.dynamic_intervals=None", *LOADERS)
    assert re.search(r"\| cell +\|", out)
