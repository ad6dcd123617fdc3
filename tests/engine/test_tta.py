"""``mmattn test --tta`` labels alike with mmseg's segmentor and with ours, in both modes."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.models import SegTTAModel
from mmseg.registry import MODELS

from mmattn.config import load_config
from mmattn.data import write_shapes_dataset
from mmattn.engine.tta import use_tta
from mmattn.errors import ConfigError
from mmattn.inference import build_model

WHOLE = ["model.test_cfg.mode=whole"]
SLIDE = [
    "model.test_cfg.mode=slide",
    "model.test_cfg.crop_size=(48,40)",
    "model.test_cfg.stride=(33,27)",
]
# Scales 0.75, 1 and 1.25, each also mirrored; the label maps have the size of the files.
RECIPE, A_FLIP = [], ["tta_pipeline=None"]


@MODELS.register_module()
class UpstreamTTAModel(SegTTAModel):
    """mmseg's own: by its name the tool would take ours."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A folder with two test images, and weights whose labels are of many classes."""
    root = tmp_path_factory.mktemp("tta")
    write_shapes_dataset(root, num_train=1, num_val=2, size=(64, 96), seed=0)
    torch.manual_seed(0)
    model = build_model(load_config(repo / "tests/support/configs/tiny_fcn.py"))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.save({"state_dict": model.state_dict()}, root / "weights.pth")
    return root


@pytest.fixture
def label_maps(place: Path, repo: Path, tmp_path: Path, monkeypatch) -> Callable[..., np.ndarray]:
    """Run the tool in this process, and read the maps that it writes."""
    monkeypatch.setenv("SHAPES_ROOT", str(place))
    monkeypatch.setattr(logging, "raiseExceptions", False)  # loggers whose output is closed
    # Half of a run this short would be spent on formatting its config.
    monkeypatch.setattr(Config, "pretty_text", property(lambda cfg: repr(cfg.to_dict())))
    spec = importlib.util.spec_from_file_location("tool", repo / "tools/test.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    runs = iter(range(100))

    def call(kind: str, options: list[str], *flags: str) -> np.ndarray:
        folder = tmp_path / str(next(runs))
        words = [repo / "tests/support/configs/tiny_fcn.py", place / "weights.pth", *flags]
        words += ["--work-dir", folder, "--out", folder / "labels", "--cfg-options"]
        # Two runs within a second would share mmengine's logs.
        words += [
            f"model.type={kind}.EncoderDecoder",
            f"experiment_name={tmp_path.name}-{folder.name}",
            *options,
        ]
        assert tool.main([str(word) for word in words]) == 0
        maps = [cv2.imread(str(file), -1) for file in sorted(folder.glob("labels/*.png"))]
        assert len(maps) == 2
        return np.stack(maps)

    return call


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([*WHOLE, *RECIPE], id="whole, scales and flips"),
        pytest.param([*SLIDE, *RECIPE], id="slide, scales and flips", marks=pytest.mark.slow),
        pytest.param([*WHOLE, *A_FLIP], id="whole, a flip", marks=pytest.mark.slow),
    ],
)
def test_labels_equal_those_of_mmseg(options: list[str], label_maps) -> None:
    ours = label_maps("mmattn", options, "--tta")
    theirs = label_maps("mmseg", [*options, "tta_model.type=UpstreamTTAModel"], "--tta")
    assert np.array_equal(ours, theirs)
    assert ours.shape == (2, 64, 96)
    assert len(np.unique(ours)) >= 3
    alone = label_maps("mmattn", options)
    assert (ours != alone).any(), "the augmentation changes nothing"


@pytest.mark.slow
def test_blended_windows_are_averaged_too(label_maps) -> None:
    blended = [*SLIDE, "model.test_cfg.blend=cosine"]
    cosine, uniform = (label_maps("mmattn", one, "--tta") for one in (blended, SLIDE))
    assert (cosine != uniform).any()
    assert (cosine == uniform).mean() > 0.5


def test_a_calibration_error_is_refused(place: Path, repo: Path, monkeypatch) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(place))
    cfg = load_config(repo / "tests/support/configs/tiny_fcn.py")
    cfg.test_evaluator = [{"type": "mmattn.ClasswiseIoUMetric", "calibration": 15}]
    with pytest.raises(ConfigError, match=r"test_evaluator\.calibration=15"):
        use_tta(cfg)


def test_copies_are_merged_one_by_one(place: Path, repo: Path, monkeypatch) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(place))
    plain = load_config(repo / "tests/support/configs/tiny_fcn.py")
    for model in ({"type": "SegTTAModel"}, {"type": "mmseg.SegTTAModel"}, None):
        cfg = deepcopy(plain)
        cfg.tta_model = model
        use_tta(cfg)
        assert cfg.model.type == "mmattn.SegTTAModel"
        assert cfg.model.module.type == "EncoderDecoder"


# --- sizes ---------------------------------------------------------------------------------------

CONFIGS = sorted(
    path
    for path in (Path(__file__).resolve().parents[2] / "configs").rglob("*.py")
    if "_base_" not in path.parts
)


def shapes_of(pipeline: list, size: tuple[int, int]) -> list[tuple[bool, tuple[int, int]]]:
    """Whether flipped, and the shape, of each image that a pipeline packs."""
    from mmengine.dataset import Compose

    def without_reading(steps: list) -> list:
        if steps and isinstance(steps[0], list):
            return [branch for branch in map(without_reading, steps) if branch]
        return [
            {**step, "transforms": without_reading(step["transforms"])}
            if step["type"].endswith("TestTimeAug")
            else step
            for step in steps
            if "Load" not in step["type"]
        ]

    image = np.zeros((*size, 3), np.uint8)
    results = {"img": image, "img_shape": size, "ori_shape": size, "img_path": "", "seg_fields": []}
    packed = Compose(without_reading(pipeline))(results)
    samples, inputs = packed["data_samples"], packed["inputs"]
    if not isinstance(samples, list):
        samples, inputs = [samples], [inputs]
    return [
        (bool(sample.metainfo.get("flip")), tuple(one.shape[-2:]))
        for sample, one in zip(samples, inputs, strict=True)
    ]


def plain_and_augmented(cfg: Config, size: tuple[int, int]) -> tuple[tuple, list]:
    from mmattn.config.registry_scope import enter_scope

    enter_scope(cfg)
    ((_, plain),) = shapes_of(cfg.test_dataloader.dataset.pipeline, size)
    return plain, shapes_of(use_tta(deepcopy(cfg)).test_dataloader.dataset.pipeline, size)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_the_copy_of_ratio_1_has_the_shape_of_the_plain_test(config: Path) -> None:
    cfg = load_config(config)
    if "test_dataloader" not in cfg:
        pytest.skip("not to be tested")
    if not cfg.get("tta_pipeline") and cfg.get("default_scope") != "mmseg":
        pytest.skip("the flip of any pipeline, at its own size")
    for size in ((120, 161), (64, 48)):
        plain, copies = plain_and_augmented(cfg, size)
        # The ratios lie around 1, so the plain one is neither the smallest nor the largest.
        assert plain in [shape for flipped, shape in copies if not flipped], (plain, copies)
        if len({shape for _, shape in copies}) > 1:
            areas = [shape[0] * shape[1] for _, shape in copies]
            assert min(areas) < plain[0] * plain[1] < max(areas)


@pytest.mark.parametrize(
    "steps",
    [
        [{"type": "Resize", "scale": (160, 64), "keep_ratio": True}],
        [{"type": "Resize", "scale": (160, 64), "keep_ratio": False}],
        [{"type": "Resize", "scale_factor": 0.5, "keep_ratio": True}],
        [{"type": "Resize", "scale_factor": (0.5, 0.25)}],
        [{"type": "ResizeShortestEdge", "scale": 64, "max_size": 200}],
        [
            {"type": "Resize", "scale": (161, 63), "keep_ratio": True},
            {"type": "ResizeToMultiple", "size_divisor": 32},
        ],
        [],
    ],
    ids=["scale", "stretched", "factor", "factors", "shortest", "multiple", "as stored"],
)
def test_ratios_are_of_the_size_of_the_test(steps: list, place, repo, monkeypatch) -> None:
    monkeypatch.setenv("SHAPES_ROOT", str(place))
    cfg = load_config(repo / "tests/support/configs/tiny_fcn.py")
    pack = {"type": "PackSegInputs"}
    cfg.test_dataloader.dataset.pipeline = [{"type": "LoadImageFromFile"}, *steps, pack]
    plain, copies = plain_and_augmented(cfg, (120, 161))
    sizes = sorted({shape for flipped, shape in copies if not flipped})
    assert plain == sizes[1] and len(sizes) == 3
    assert min(sizes[2]) > min(plain) > min(sizes[0]) or len(steps) > 1
    for shape, ratio in zip(sizes, (0.75, 1, 1.25), strict=True):
        rounding = 32 if len(steps) > 1 else 1  # up to the next multiple
        assert np.abs(np.subtract(shape, np.multiply(plain, ratio))).max() <= rounding
