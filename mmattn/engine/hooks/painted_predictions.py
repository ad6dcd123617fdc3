"""Save each prediction of a test, painted over its image beside the ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from mmengine.hooks import Hook

from mmattn.engine.drawn_names import drawn_file, drawn_names
from mmattn.io import atomic_write
from mmattn.registry import HOOKS
from mmattn.reports.legend import with_legend
from mmattn.reports.painter import Painter, read_photograph

if TYPE_CHECKING:
    from mmengine.runner import Runner

_GAP = 8


@HOOKS.register_module()
class PaintedPredictionsHook(Hook):
    """Write ``FOLDER/NAME.png`` for each image of a test of semantic segmentation.

    Images that share a name keep their sub-folders.

    From left to right: the image, the ground truth if there is one, the prediction. The painter is
    that of ``predict``; for two classes it paints what is right, missed and false.

    Args:
        folder: Folder of the files; it is created if needed.
        opacity: Opacity of the colours, 0 to 1.
        legend: Whether the names of what is painted stand in a strip below.
    """

    priority = "LOW"

    def __init__(self, folder: str | Path, opacity: float = 0.5, legend: bool = True) -> None:
        self.folder = Path(folder)
        self.opacity = opacity
        self.legend = legend
        self._painter: Painter | None = None
        self._bit_depth: int | None = None
        self._names: dict[str, Path] = {}
        self._count = 0

    def before_test_epoch(self, runner: Runner) -> None:
        dataset = runner.test_dataloader.dataset
        meta, self._bit_depth = dataset.metainfo, stated_bit_depth(dataset)
        self._names, self._count = drawn_names(dataset), 0
        self._painter = Painter.of(meta.get("classes") or (), meta.get("palette"), self.opacity)
        self.folder.mkdir(parents=True, exist_ok=True)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        for sample in outputs or ():
            predicted = _plane(sample.pred_sem_seg.data)
            truth = _plane(sample.gt_sem_seg.data) if "gt_sem_seg" in sample else None
            if truth is not None and truth.shape != predicted.shape:
                truth = None
            photograph = read_photograph(str(sample.img_path), predicted.shape, self._bit_depth)
            tiles = self._painter.tiles(photograph, predicted, truth)
            sheet = side_by_side(tiles)
            if self.legend:
                sheet = with_legend(sheet, self._painter.legend_of(predicted, truth))
            self._save(sheet, str(sample.img_path))

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        runner.logger.info(f"Painted predictions: {self._count} images in {self.folder}")

    def _save(self, sheet: np.ndarray, image: str) -> None:
        path = drawn_file(self.folder, self._names, image, ".png")
        success, encoded = cv2.imencode(".png", sheet[..., ::-1])
        if not success:
            raise ValueError(f"{path}: OpenCV cannot encode an image of shape {sheet.shape}")
        with atomic_write(path) as file:
            file.write(encoded.tobytes())
        self._count += 1


def side_by_side(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Join images of one size (H, W, 3) uint8 with a white gap."""
    gap = np.full((tiles[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for tile in tiles for part in (gap, tile)]
    return np.concatenate(parts[1:], axis=1)


def stated_bit_depth(dataset: Any) -> int | None:
    """Return the bits in use of images that have more than 8, where the dataset states them."""
    while hasattr(dataset, "dataset"):  # RepeatDataset and its like
        dataset = dataset.dataset
    return getattr(dataset, "bit_depth", None)


def _plane(data: Any) -> np.ndarray:
    """Return a label map (1, H, W) as an array (H, W)."""
    return np.asarray(data.cpu())[0].astype(np.int64)
