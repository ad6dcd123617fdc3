"""Promise: the configs of docs/segmentation.md work as they stand, on generated data.

The network is an eighth as wide, the images are few and small, and a training has two steps; what
a setting is for is looked at, not only that it is accepted.
"""

from __future__ import annotations

import csv
import itertools
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.runner import Runner

import mmattn.engine
import mmattn.inference
from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.data import ShapesDataset, write_shapes_dataset
from mmattn.evaluation.semantic.scores import METRICS
from tests.support.code_blocks import read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/segmentation.md"
SNIPPETS = {b.heading: b.code for b in read_code_blocks(GUIDE) if b.language == "python"}
SMALL = {
    "model.backbone.init_cfg": None,
    "model.backbone.base_channels": 8,
    "model.backbone.stem_channels": 8,
    "model.decode_head.in_channels": 64,
    "model.decode_head.channels": 16,
    "model.auxiliary_head.in_channels": 32,
    "model.auxiliary_head.channels": 8,
    "train_dataloader.batch_size": 2,
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 2,
    "default_hooks.checkpoint.interval": 2,
    "randomness": {"seed": 0},
    **{f"{split}_dataloader.{key}": value for split in ("train", "val", "test")
       for key, value in (("num_workers", 0), ("persistent_workers", False))},
}  # fmt: skip
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # loggers whose output is closed
    # Half of a run this short would be spent on six formattings of its config.
    monkeypatch.setattr(Config, "pretty_text", property(lambda cfg: repr(cfg.to_dict())))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_shapes_dataset(root, num_train=4, num_val=2, size=(48, 64), seed=0)
    # So few images lack some of the classes.
    names = json.dumps(ShapesDataset.METAINFO["classes"])
    (root / "classes.json").write_text(names, encoding="utf-8")
    return root


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """``write(heading)``: the config below that heading, as a file."""

    def file_of(heading: str) -> Path:
        file = tmp_path / f"{re.sub(r'[^a-z]+', '_', heading.lower())}.py"
        file.write_text(SNIPPETS[heading], encoding="utf-8")
        return file

    return file_of


def options(images: Path, changes: dict) -> dict:
    # Two runs within a second would share their logs.
    name = f"guide-{next(_numbers)}"
    return {**SMALL, "data_root": str(images), "experiment_name": name, **changes}


@pytest.fixture
def train(write, images: Path, tmp_path: Path) -> Callable[..., Runner]:
    def call(heading: str, **changes) -> Runner:
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        folder = str(tmp_path / "run")
        cfg_options = options(images, changes)
        return mmattn.engine.train(write(heading), work_dir=folder, cfg_options=cfg_options)

    return call


@pytest.fixture
def evaluate(write, images: Path, tmp_path: Path) -> Callable[..., dict[str, float]]:
    def call(heading: str, checkpoint: Path, tta: bool = False, **changes) -> dict[str, float]:
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        return mmattn.engine.test(
            write(heading),
            str(checkpoint),
            work_dir=str(tmp_path / "test"),
            out=str(tmp_path / "labels"),
            tta=tta,
            cfg_options=options(images, changes),
        )

    return call


@pytest.fixture(scope="module")
def weights(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the configs' kind, untrained, that finds several classes in an image."""
    base = "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
    torch.manual_seed(0)
    model = mmattn.inference.build_model(load_config(base, options(images, {})))
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    model.train()
    with torch.no_grad():
        for _ in range(20):  # until the statistics of batch norm fit
            model.decode_head.forward(model.extract_feat(torch.randn(2, 3, 64, 64)))
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save({"state_dict": model.state_dict()}, file)
    return file


def last_metrics(runner: Runner) -> dict[str, float]:
    scalars = runner.message_hub.log_scalars
    return {k.partition("/")[2]: v.current() for k, v in scalars.items() if k.startswith("val/")}


def test_every_config_is_tested_here() -> None:
    source = Path(__file__).read_text("utf-8")
    for heading in SNIPPETS:
        assert f'("{heading}"' in source, heading


def test_the_table_of_data_sets_is_true(repo: Path) -> None:
    table = GUIDE.read_text("utf-8").partition("## Datasets")[2].partition("## ")[0]
    rows = re.findall(r"^\| (?!dataset|---).*? \| `([^`]+)` \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) == 7
    named = set()
    for folder, configs in rows:
        for name in re.findall(r"`(\w+\.py)`", configs):
            cfg = load_config(repo / "configs/_base_/datasets" / name)
            assert cfg.data_root.rstrip("/") == folder
            named.add(name)
    files = {file.name for file in (repo / "configs/_base_/datasets").glob("*.py")}
    # Of other tasks, and those that differ in their augmentation alone.
    others = (
        "detection",
        "instance",
        "panoptic",
        "coco_",
        "mask2former_loaders",
        "nuclei_",
        "folder_boxes",
        "folder_masks",
        "-edges_",
        "-shortest-edge_",
    )
    assert {name for name in files if not any(part in name for part in others)} == named


@pytest.mark.slow
def test_sliding_blended_windows(weights: Path, evaluate, write, images: Path) -> None:
    cfg = load_config(write("Inference"), options(images, {}))
    model = mmattn.inference.build_model(cfg)
    assert model.test_cfg.mode == "slide" and model.test_cfg.blend == "cosine"
    assert type(model).__module__.startswith("mmattn.")
    # Windows smaller than the enlarged images, so that there are several.
    sizes = {"model__test_cfg__crop_size": (192, 192), "model__test_cfg__stride": (144, 144)}
    assert "mIoU" in evaluate("Inference", weights, **sizes)


@pytest.mark.slow
def test_test_time_augmentation(weights: Path, evaluate) -> None:
    alone = evaluate("Test-time augmentation", weights)
    assert alone["mIoU"] > 0
    assert evaluate("Test-time augmentation", weights, tta=True) != alone


def test_the_evaluation_has_what_the_page_tells(weights: Path, evaluate, tmp_path: Path) -> None:
    found = evaluate("Evaluation", weights)
    assert {"aAcc", "mIoU", "mBoundaryF", "ECE", "mIoU_low", "mIoU_high"} <= set(found)
    (table,) = tmp_path.glob("test/*/results.csv")
    with table.open(newline="") as lines:
        columns = {row["metric"] for row in csv.DictReader(lines)}
    text = GUIDE.read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`[`\w, ]*) \| (`m\w+`[`\w, ]*) \|", text, re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", asked)) for names, asked in rows
            for name in re.findall(r"`(\w+)`", names)}  # fmt: skip
    assert {name for name in columns if " " not in name} == set(told)
    for column, asked in told.items():
        for metric in asked:
            assert column in METRICS[metric]
    assert {"IoU low", "IoU high"} <= columns
    for name in ("confusion_test.png", "confusion_test.csv", "worst_test.png"):
        (file,) = tmp_path.glob(f"test/*/vis_data/{name}")
        assert file.stat().st_size > 0


@pytest.mark.slow
def test_validation_loss(train) -> None:
    metrics = last_metrics(train("Validation loss"))
    assert metrics["val_loss"] > metrics["val_decode.loss_ce"] > 0


@pytest.mark.slow
def test_averaged_weights_are_what_is_tested(train, evaluate, tmp_path: Path) -> None:
    """The averages are validated; a test of the checkpoint finds the same, with the hook or not."""
    runner = train("Averaged weights", custom_hooks__0__momentum=0.5)
    validated = last_metrics(runner)
    file = tmp_path / "run/iter_2.pth"
    trained = runner.model.state_dict()["backbone.conv1.weight"]
    saved = torch.load(file, weights_only=True)
    assert not torch.equal(saved["state_dict"]["backbone.conv1.weight"], trained)
    assert torch.equal(saved["ema_state_dict"]["module.backbone.conv1.weight"], trained)
    for heading in ("Averaged weights", "The best checkpoint"):
        tested = evaluate(heading, file)
        assert tested["mIoU"] == validated["mIoU"] and tested["aAcc"] == validated["aAcc"]


@pytest.mark.slow
def test_best_checkpoints(train, tmp_path: Path) -> None:
    train("The best checkpoint")
    for name in ("iter_2.pth", "best_mIoU_iter_2.pth", "best_aAcc_iter_2.pth"):
        assert (tmp_path / "run" / name).is_file()


@pytest.mark.slow
def test_early_stop(train) -> None:
    hook = {"custom_hooks__0__patience": 1, "custom_hooks__0__min_delta": 1000.0}
    steps = {"train_cfg__max_iters": 9, "train_cfg__val_interval": 1}
    assert train("Early stop", **hook, **steps).iter == 2


def test_class_balanced_crops(write, images: Path) -> None:
    cfg = load_config(write("Class-balanced crops"), options(images, {}))
    enter_scope(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    (crop,) = (t for t in dataset.pipeline.transforms if type(t).__name__ == "ClassBalancedCrop")
    assert crop.prob == 0.5
    sizes = {tuple(dataset[index]["inputs"].shape[1:]) for index in range(4)}
    assert max(max(size) for size in sizes) == 256


@pytest.mark.slow
def test_accumulated_gradients(train) -> None:
    """Of five batches four and then one make a step: the optimiser counts two."""
    runner = train("A larger batch than fits", train_cfg__max_iters=5, train_cfg__val_interval=5)
    states = runner.optim_wrapper.optimizer.state.values()
    assert {int(state["step"]) for state in states} == {2}


@pytest.mark.slow
def test_mixed_precision(train) -> None:
    runner = train("Mixed precision")
    with runner.optim_wrapper.optim_context(runner.model):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}


@pytest.mark.slow
def test_compiled_parts(train) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    # Not 8 channels: there inductor's own C++ for the backward pass of mmseg's ResNet corrupts the
    # heap (torch 2.15, CPU).
    width = {"model__backbone__base_channels": 64, "model__backbone__stem_channels": 64}
    width |= {"model__decode_head__in_channels": 512, "model__auxiliary_head__in_channels": 256}
    train("torch.compile", **width)
    assert counters["stats"]["unique_graphs"] >= 2
