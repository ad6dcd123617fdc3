"""Promise: docs/train_on_your_data.md works as it stands; its commands are run on generated data.

By default the steps run in this process with a network an eighth as wide and for a few iterations;
``-m slow`` runs every command as it is written, in a process of its own, with fewer iterations.
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
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.data import FolderSegDataset
from mmattn.inference import build_model
from mmattn.preflight.config_keys import check_keys
from tests.support.code_blocks import CodeBlock, read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/train_on_your_data.md"
BLOCKS = read_code_blocks(GUIDE)
CONFIG = "configs/folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
RUN = Path("work_dirs/mine")

LOADERS = [
    f"{split}_dataloader.{key}"
    for split in ("train", "val", "test")
    for key in ("num_workers=0", "persistent_workers=False")
]
SHORT = ["train_cfg.max_iters=2", "train_cfg.val_interval=1", "model.backbone.init_cfg=None"]
NARROW = [
    "model.backbone.base_channels=8",
    "model.backbone.stem_channels=8",
    "model.decode_head.in_channels=64",
    "model.decode_head.channels=16",
    "model.auxiliary_head.in_channels=32",
    "model.auxiliary_head.channels=8",
    "train_dataloader.batch_size=2",
    "train_cfg.max_iters=4",
    "train_cfg.val_interval=2",
    "default_hooks.logger.interval=1",
    *LOADERS,
]


def commands(heading: str = "") -> list[list[str]]:
    """The words of each command below a heading that begins so."""
    found = [b for b in BLOCKS if b.heading.startswith(heading) and b.language == "bash"]
    return [shlex.split(command) for block in found for command in block.commands]


def block_of(file: str) -> CodeBlock:
    (block,) = [block for block in BLOCKS if block.file == file]
    return block


def expanded(words: list[str]) -> list[str]:
    """Words with ``*`` as a shell expands them."""
    found = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
    return [word for group in found for word in group]


def write_cells(root: Path) -> None:
    """Black and white masks with grey edges, and no splits."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(6):
        mask = np.zeros((64, 80), np.uint8)
        cv2.circle(mask, (20 + 6 * index, 30), 12, 255, -1)
        cv2.imwrite(str(root / f"images/{index}.jpg"), cv2.applyColorMap(mask, cv2.COLORMAP_BONE))
        cv2.imwrite(str(root / f"masks/{index}_mask.png"), cv2.GaussianBlur(mask, (5, 5), 0))


def write_drive(root: Path) -> None:
    """The layout of DRIVE, with noise in its place."""
    for split, count in {"training": 6, "test": 2}.items():
        for folder in ("images", "1st_manual", "mask"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise = np.random.default_rng(index).integers(0, 256, (64, 80), np.uint8)
            cv2.imwrite(str(root / f"{split}/images/{index:02}_{split}.tif"), noise)
            vessels = Image.fromarray((noise > 200).astype(np.uint8) * 255)
            vessels.save(root / f"{split}/1st_manual/{index:02}_manual1.gif")
            view = Image.fromarray(np.full_like(noise, 255))
            view.save(root / f"{split}/mask/{index:02}_{split}_mask.gif")


def set_up(root: Path, repo: Path) -> None:
    for name in ("configs", "tools"):
        (root / name).symlink_to(repo / name)
    write_cells(root / "data/cells")
    write_drive(root / "data/DRIVE")
    for block in BLOCKS:
        if block.file:
            (root / block.file).parent.mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="module")
def place(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder like a checkout, with the guide's data in it; the current directory meanwhile."""
    root = tmp_path_factory.mktemp("guide")
    set_up(root, repo)
    before, raises = Path.cwd(), logging.raiseExceptions
    logging.raiseExceptions = False  # mmengine keeps loggers whose captured output is closed
    os.chdir(root)
    run(commands()[0])
    for block in BLOCKS:
        if block.file:
            Path(block.file).write_text(block.code, encoding="utf-8")
    yield root
    os.chdir(before)
    logging.raiseExceptions = raises


def run(words: list[str], *options: str) -> str:
    """What a command prints, run in this process, with further settings of the config."""
    program, *rest = expanded(words)
    assert program == "mmattn"
    if options:
        rest += [*([] if "--cfg-options" in rest else ["--cfg-options"]), *options]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        code = main(rest)
    assert not code, f"{shlex.join(words)}\n{shown.getvalue()}"
    return shown.getvalue()


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    (command,) = commands("4. Train")
    run(command, *SHORT, *NARROW)
    return place / RUN


def test_the_check_shows_classes_and_rule(place: Path) -> None:
    (command,) = commands("3. Check")
    out = run(command)
    assert re.search(r"train_dataloader.*30 images; looked at 30 headers, 30 masks", out)
    assert "10 classes, from data/my_images/classes.json" in out
    assert "mask_format index" in out and re.search(r"triangle +\d+ pixels", out)


@pytest.mark.slow
def test_the_run_leaves_what_the_guide_names(trained: Path) -> None:
    assert len(list(trained.glob("best_mIoU_iter_*.pth"))) == 1
    (log_dir,) = [folder for folder in trained.glob("2*") if folder.is_dir()]
    for name in ("results.csv", "vis_data/curves_loss.png", "vis_data/curves_metrics.png"):
        assert (log_dir / name).stat().st_size > 0, name
    left = (trained / Path(CONFIG).name).read_text()
    assert "num_classes=10" in left and "'auto'" not in left
    assert "triangle" in (log_dir / "results.csv").read_text()


@pytest.fixture(scope="module")
def tested(trained: Path) -> Path:
    (command,) = commands("6. Test")
    # Else mmengine would take the log of the training, if it started within the same second.
    run([*command, "--out", str(RUN / "maps")], "experiment_name=guide-test")
    return trained


@pytest.mark.slow
def test_the_test_paints_every_image(tested: Path) -> None:
    assert len(list((tested / "shown").rglob("*.png"))) == 6


@pytest.mark.slow
def test_predictions_are_those_of_the_test(tested: Path) -> None:
    """An image without its mask is prepared and predicted as the test does it."""
    (command,) = commands("7. Predict")
    assert "6 label maps in work_dirs/mine/found" in run(command)
    maps = sorted((tested / "maps").glob("*.png"))
    assert len(maps) == 6
    for file in maps:
        found = cv2.imread(str(tested / "found" / file.name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(found, cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        assert (tested / "found" / f"{file.stem}_overlay.jpg").is_file()
    names = json.loads((tested / "found/classes.json").read_text())
    assert names == json.loads(block_of("data/my_images/classes.json").code)


def test_the_other_checks(place: Path) -> None:
    (cells,) = commands("Masks of other kinds")
    out = run(cells)
    assert "mask_format binary: as set" in out and "foreground" in out
    assert "val drawn from images" in out
    (drive,) = commands("Names of other kinds")
    out = run(drive)
    assert "train: images in training/images, masks in training/1st_manual" in out
    assert "not used: test/mask, training/mask" in out
    for command in commands("Any other network")[1:]:
        assert "10 classes, from data/my_images/classes.json" in run(command)


@pytest.mark.slow
def test_the_fast_network_trains(place: Path) -> None:
    command = commands("Any other network")[0]
    narrow = ["model.backbone.channels=8", "model.decode_head.in_channels=32", *SHORT]
    run(command, *narrow, "train_dataloader.batch_size=2", *LOADERS)
    assert list((place / "work_dirs/fast").glob("best_mIoU_iter_*.pth"))


@pytest.mark.parametrize("file", ["my_dice.py", "my_large.py"])
def test_the_guide_s_configs_build(file: str, place: Path) -> None:
    cfg = load_config(file, {"data_root": "data/my_images"})
    assert check_keys(cfg) == []
    assert build_model(cfg).decode_head.num_classes == 10


def test_options_in_the_text_exist(place: Path) -> None:
    """Every ``data.KEY`` is an argument of the dataset; every other dotted key can be set."""
    text = re.sub(r"```.*?```", "", GUIDE.read_text("utf-8"), flags=re.DOTALL)
    inline = " ".join(re.findall(r"`([^`]+)`", text))
    arguments = inspect.signature(FolderSegDataset.__init__).parameters
    found = re.findall(r"\bdata\.(\w+)=", inline)
    assert {"img_dir", "mask_format", "missing_masks", "split_seed", "unknown_values"} <= set(found)
    assert set(found) <= set(arguments)
    options = dict(re.findall(r"((?:model|train_cfg|param_scheduler)\.[\w.]+)=(\w+)", inline))
    assert len(options) == 4, options
    numbers = {key: None if value == "None" else int(value) for key, value in options.items()}
    cfg = load_config(CONFIG, {"data_root": "data/my_images", **numbers})
    assert cfg.param_scheduler[1]["end"] == cfg.train_cfg.max_iters == 500
    model = build_model(cfg)
    model.train()
    assert not any(p.requires_grad for p in model.backbone.layer2.parameters())
    assert any(p.requires_grad for p in model.backbone.layer3.parameters())


@pytest.mark.slow
def test_every_command_runs(repo: Path, tmp_path: Path) -> None:
    """As written, one after the other; trainings are shortened and start without a download."""
    set_up(tmp_path, repo)
    mine = {**os.environ, "PYTHONPATH": str(repo)}
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.code, encoding="utf-8")
        for command in block.commands if block.language == "bash" else ():
            command = command.replace("mmattn ", f"{shlex.quote(sys.executable)} -m mmattn ", 1)
            # The generator wants an empty folder; whoever follows writes the names afterwards.
            if "data shapes" in command:
                assert not any((tmp_path / "data/my_images").iterdir())
            command += " " + " ".join(SHORT) if " train " in command else ""
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=mine, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert (tmp_path / RUN / "model.onnx").stat().st_size > 0
    assert json.loads((tmp_path / RUN / "model.parity.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("file", ["my_dice.py", "my_large.py"])
def test_the_guide_s_configs_train(file: str, place: Path) -> None:
    command = ["mmattn", "train", file]
    run(command, "data_root=data/my_images", *SHORT, *NARROW)
    assert (place / f"work_dirs/{Path(file).stem}/iter_4.pth").is_file()
