"""Promise: configs/mask2former has the authors' networks and schedules, and says where from."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from mmengine.optim import build_optim_wrapper
from mmengine.registry import METRICS, DefaultScope
from torch import nn

from mmattn.config import load_config
from mmattn.tasks import INSTANCE, PANOPTIC, SEMANTIC, task_of
from tests.conftest import REPO
from tests.support.mask2former_weights import build_on_meta

FOLDER = REPO / "configs/mask2former"
OURS = ("_r18_", "_mobilenetv2_")
CONFIGS = sorted(p for p in FOLDER.glob("*.py") if not any(name in p.name for name in OURS))
PUBLISHED = [path for path in CONFIGS if "nuclei" not in path.name]
# Those of the paper's networks, counted on transformers' (https://arxiv.org/abs/2112.01527).
PARAMETERS = {
    "mask2former_r50_8xb2-50e_coco-instance": 44_023_377,
    "mask2former_r50_8xb2-50e_coco-panoptic": 44_036_998,
    "mask2former_r50_8xb2-160k_ade20k-semantic": 44_041_367,
    "mask2former_r50_8xb2-90k_cityscapes-panoptic": 44_007_700,
    "mask2former_swin-t_8xb2-50e_coco-instance": 47_421_643,
    "mask2former_swin-s_8xb2-50e_coco-instance": 68_739_547,
    "mask2former_swin-b_8xb2-50e_coco-instance": 106_904_201,
    "mask2former_swin-l_16xb1-100e_coco-panoptic": 215_535_610,
}
CLASSES = {"coco": (80, 53), "ade20k": (100, 50), "cityscapes": (8, 11)}


def parts(path: Path) -> tuple[str, str, str, str]:
    """Backbone, GPUs and batch, schedule with dataset, and task in the name of a config."""
    _, backbone, run, data = path.stem.split("_")
    return backbone, run, data.split("-")[0], data.split("-")[1]


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_there_is_one_of_every_network() -> None:
    found: dict[str, set[str]] = {}
    for path in PUBLISHED:
        backbone, _, dataset, task = parts(path)
        found.setdefault(f"{dataset}-{task}", set()).add(backbone)
    large = {"r50", "r101", "swin-t", "swin-s", "swin-b", "swin-b-in21k", "swin-l"}
    for task in ("instance", "panoptic"):
        assert found.pop(f"coco-{task}") == large
        assert found.pop(f"ade20k-{task}") == {"r50", "swin-l"}
        assert found.pop(f"cityscapes-{task}") == large - {"swin-b"}
    assert found.pop("ade20k-semantic") == large
    assert found.pop("cityscapes-semantic") == large - {"swin-b"}
    assert not found


def test_schedule_is_the_authors(path: Path) -> None:
    backbone, run, dataset, _ = parts(path)
    cfg = load_config(path)
    (scheduler,) = (
        cfg.param_scheduler if isinstance(cfg.param_scheduler, list) else [cfg.param_scheduler]
    )
    iterations = cfg.train_cfg.max_iters
    if dataset == "coco":
        long = backbone == "swin-l"
        assert iterations == (737_500 if long else 368_750)
        milestones = [655_556, 710_184] if long else [327_778, 355_092]
        assert (scheduler.type, scheduler.milestones) == ("MultiStepLR", milestones)
        assert scheduler.gamma == 0.1
    else:
        assert iterations == {"ade20k": 160_000, "cityscapes": 90_000}[dataset]
        assert (scheduler.type, scheduler.power, scheduler.eta_min) == ("PolyLR", 0.9, 0.0)
    assert (scheduler.begin, scheduler.end, scheduler.by_epoch) == (0, iterations, False)
    gpus, batch = map(int, run.split("-")[0].split("xb"))
    assert cfg.train_dataloader.batch_size == batch
    assert gpus * batch == cfg.auto_scale_lr.base_batch_size == 16
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 1e-4, 0.05)
    assert optimizer.betas == (0.9, 0.999)
    assert cfg.optim_wrapper.clip_grad == {"max_norm": 0.01, "norm_type": 2}
    assert cfg.train_cfg.val_interval == 5000


def test_crops_and_sizes_are_the_authors(path: Path) -> None:
    backbone, _, dataset, task = parts(path)
    cfg = load_config(path)
    train = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    test = {step.type: step for step in cfg.test_dataloader.dataset.pipeline}
    small = task == "semantic" and not backbone.startswith(("swin-b", "swin-l"))
    side = 512 if small else 640
    crop, tested = {
        "coco": ((1024, 1024), (1333, 800)),
        "ade20k": ((side, side), (4 * side, side)),
        "cityscapes": ((512, 1024), (2048, 1024)),
    }[dataset]
    assert tuple(train["RandomCrop"].crop_size) == crop
    assert tuple(test["Resize"].scale) == tested
    if dataset == "coco":
        assert train["RandomResize"].ratio_range == (0.1, 2.0)
        assert "PhotoMetricDistortion" not in train
    else:
        scales = train["RandomChoiceResize"].scales
        shorter = [scale if isinstance(scale, int) else scale[1] for scale in scales]
        assert len(shorter) == 16
        assert (shorter[0], shorter[-1]) == (tested[1] // 2, tested[1] * 2)
        assert "PhotoMetricDistortion" in train
    if task == "semantic":
        assert tuple(cfg.model.data_preprocessor.size) == crop
    if dataset == "cityscapes":  # a crop is never larger than an image
        assert "Pad" not in train
    else:  # grey, before the normalisation
        assert tuple(train["Pad"].size) == crop
        grey = train["Pad"].pad_val
        assert grey["img"] in (128, (128, 128, 128))
        assert (grey.get("masks", 0), grey.get("seg", 255)) == (0, 255)
    assert "batch_augments" not in cfg.model.data_preprocessor


def head_of(cfg: Any) -> Any:
    return cfg.model.get("decode_head") or cfg.model.panoptic_head


def test_classes_and_queries(path: Path) -> None:
    backbone, _, dataset, task = parts(path)
    cfg = load_config(path)
    head = head_of(cfg)
    things, stuff = CLASSES[dataset]
    if task == "semantic":
        assert head.num_classes == things + stuff
    else:
        for part in (head, cfg.model.panoptic_fusion_head):
            assert part.num_things_classes == things
            assert part.num_stuff_classes == (stuff if task == "panoptic" else 0)
    assert head.num_queries == (200 if backbone == "swin-l" and task != "semantic" else 100)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, marks=() if "r50" in path.stem or path.stem in PARAMETERS else pytest.mark.slow
        )
        for path in PUBLISHED
    ],
    ids=lambda path: path.stem,
)
def test_network_builds_with_the_published_parameters(path: Path) -> None:
    model = build_on_meta(load_config(path))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS.get(path.stem, count)
    assert count > 44_000_000


COUNTED = 5
SMALL = sorted(path for path in FOLDER.glob("*.py") if path not in PUBLISHED)


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_small_networks_build_and_tell_where_from(path: Path) -> None:
    cfg = load_config(path)
    if "images" in path.stem:  # counted before the build, see preflight/auto_classes.py
        for part in (cfg.model.panoptic_head, cfg.model.panoptic_fusion_head):
            part.update(num_things_classes=COUNTED - 2, num_stuff_classes=2)
    model: Any = build_on_meta(cfg)
    head = model.decode_head if "semantic" in path.stem else model.panoptic_head
    named = {"nuclei": 1, "camvid": 11, "shapes-instance": 6, "shapes": 10, "images": COUNTED}
    assert head.num_classes == next(n for name, n in named.items() if name in path.stem)
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert header is not None
    assert "arXiv:2112.01527" in header
    assert f"configs/mask2former/{path.name}" in header


def test_tasks_are_those_in_the_names() -> None:
    tasks = {"instance": INSTANCE, "panoptic": PANOPTIC, "semantic": SEMANTIC}
    for path in FOLDER.glob("*.py"):
        expected = next(task for name, task in tasks.items() if name in path.stem)
        assert task_of(load_config(path)) is expected, path.stem
    for name, task in (("masks", INSTANCE), ("panoptic", PANOPTIC)):
        file = f"configs/folder/mask2former_r50_1xb4-4k_folder-{name}-512x512.py"
        cfg = load_config(REPO / file)
        assert task_of(cfg) is task
        with DefaultScope.overwrite_default_scope("mmdet"):
            assert METRICS.build(cfg.val_evaluator)


def test_parameter_counts_are_of_configs() -> None:
    assert PARAMETERS.keys() <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize(
    ("name", "trained"),
    [
        ("mask2former_r50_8xb2-50e_coco-panoptic", False),
        ("mask2former_r101_8xb2-160k_ade20k-semantic", True),
        ("mask2former_r50_8xb2-90k_cityscapes-instance", True),
        ("mask2former_swin-s_8xb2-90k_cityscapes-semantic", True),
        ("mask2former_swin-t_8xb2-50e_coco-panoptic", True),
    ],
)
def test_norms_and_embeddings_do_not_decay(name: str, trained: bool) -> None:
    """The pixel decoder's level encoding alone does, as it is no embedding in the authors' code."""
    cfg = load_config(FOLDER / f"{name}.py")
    model = build_on_meta(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    settings = {id(group["params"][0]): group for group in wrapper.optimizer.param_groups}
    norms = 0
    for prefix, module in model.named_modules():
        for entry, parameter in module.named_parameters(recurse=False):
            key = f"{prefix}.{entry}"
            if not parameter.requires_grad:
                assert key.startswith("backbone.")
                assert ".bn" in key or ".downsample.1" in key
                continue
            is_norm = isinstance(
                module, (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
            )
            norms += is_norm and key.startswith("backbone.")
            kept = is_norm or entry == "relative_position_bias_table"
            kept |= isinstance(module, nn.Embedding) and "level_encoding" not in key
            group = settings[id(parameter)]
            assert group["weight_decay"] == (0 if kept else 0.05), key
            rate = 1e-5 if key.startswith("backbone.") else 1e-4
            assert group["lr"] == pytest.approx(rate), key
    assert bool(norms) == trained


def test_norms_of_cityscapes_and_of_a_large_resnet_are_trained() -> None:
    for path in PUBLISHED:
        backbone, _, dataset, task = parts(path)
        if not backbone.startswith("r"):
            continue
        cfg = load_config(path)
        trained = dataset == "cityscapes" or (backbone, task) == ("r101", "semantic")
        kind = "SyncBN" if trained else "BN"
        assert cfg.model.backbone.norm_cfg == {"type": kind, "requires_grad": trained}, path.stem
        assert cfg.model.backbone.norm_eval == (not trained)


def test_header_tells_paper_and_command() -> None:
    for path in CONFIGS:
        header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert header is not None
        assert "arXiv:2112.01527" in header
        assert f"configs/mask2former/{path.name}" in header
        assert "eproduced" in header


def test_all_configs_are_listed() -> None:
    text = (FOLDER / "metafile.yml").read_text(encoding="utf-8")
    models = {model["Name"]: model["Config"] for model in yaml.safe_load(text)["Models"]}
    assert models == {file.stem: f"configs/mask2former/{file.name}" for file in FOLDER.glob("*.py")}
    assert "configs/mask2former/metafile.yml" in (REPO / "model-index.yml").read_text()
