"""mmseg's and mmdet's drawing hooks show images of any depth; without the bridge they are dark."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmcv
import numpy as np
import pytest

from mmattn.bridge.drawn_images import DRAWING

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


class Seen:
    """Visualizer that keeps what it is given."""

    def add_datasample(self, name: str, image: np.ndarray, **options) -> None:
        self.image = image


def drawn(module: str, file: Path) -> np.ndarray:
    """What the hook of a module hands to the visualizer at the first step of a validation."""
    hooks = importlib.import_module(module)
    name = "SegVisualizationHook" if "mmseg" in module else "DetVisualizationHook"
    hook = getattr(hooks, name).__new__(getattr(hooks, name))
    vars(hook).update(
        draw=True, show=False, interval=1, wait_time=0.0, backend_args=None, score_thr=0.3,
        _visualizer=Seen(),
    )  # fmt: skip
    outputs = [SimpleNamespace(img_path=str(file))]
    hook.after_val_iter(SimpleNamespace(iter=0), 0, {}, outputs)
    return hook._visualizer.image


@pytest.mark.parametrize("module", DRAWING)
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_images_of_any_depth_are_drawn_bright(module: str, bits: int, tmp_path: Path) -> None:
    pixels = COLOURS if bits == 8 else COLOURS.astype(np.uint16) << (bits - 8)
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), np.ascontiguousarray(pixels[..., ::-1]))
    assert np.array_equal(drawn(module, file), COLOURS)
    if bits == 12:
        dark = mmcv.imfrombytes(file.read_bytes(), channel_order="rgb")
        assert dark.max() < 16, "mmcv shows it well by itself now: this patch can go"


@pytest.mark.parametrize("module", DRAWING)
def test_floating_point_images_are_drawn(module: str, tmp_path: Path) -> None:
    values = np.linspace(0, 1, 54, dtype=np.float32).reshape(6, 9)
    cv2.imwrite(str(tmp_path / "a.tiff"), values)
    assert np.array_equal(
        drawn(module, tmp_path / "a.tiff")[..., 0], (255 * values.astype(float)).round()
    )


def test_everything_else_is_mmcvs() -> None:
    hooks = importlib.import_module(DRAWING[1])
    assert hooks.mmcv.imwrite is mmcv.imwrite
    content = cv2.imencode(".png", COLOURS)[1].tobytes()
    grey = hooks.mmcv.imfrombytes(content, flag="grayscale")
    assert np.array_equal(grey, mmcv.imfrombytes(content, flag="grayscale"))
    assert np.array_equal(hooks.mmcv.imfrombytes(content), COLOURS)
