"""Save each prediction of a test of detection, drawn over its image by mmdet's visualizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.hooks import Hook

from mmattn.engine.drawn_names import drawn_file, drawn_names
from mmattn.registry import HOOKS
from mmattn.reports.painter import read_photograph

from .painted_predictions import stated_bit_depth

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class DrawnPredictionsHook(Hook):
    """Write one file for each image of a test: ground truth on the left, prediction on the right.

    The drawing is that of the config's visualizer, as with mmdet's ``DetVisualizationHook``. That
    hook names its files by the image's name alone, so that of two images ``a/1.jpg`` and
    ``b/1.jpg`` one is lost; here images that share a name keep their sub-folders.

    Args:
        folder: Folder of the files; it is created if needed.
        score_thr: Smallest score of what is drawn.
        backend_args: File backend of images that are no files of this machine.
    """

    priority = "LOW"

    def __init__(
        self, folder: str | Path, score_thr: float = 0.3, backend_args: dict | None = None
    ) -> None:
        self.folder = Path(folder)
        self.score_thr = score_thr
        self.backend_args = backend_args
        self._names: dict[str, Path] = {}
        self._bit_depth: int | None = None
        self._count = 0

    def before_test_epoch(self, runner: Runner) -> None:
        dataset = runner.test_dataloader.dataset
        self._names, self._bit_depth = drawn_names(dataset), stated_bit_depth(dataset)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._count = 0

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        for sample in outputs or ():
            self._count += 1
            image = str(sample.img_path)
            runner.visualizer.add_datasample(
                "test_img",
                self._read(image, tuple(sample.ori_shape[:2])),
                data_sample=sample,
                pred_score_thr=self.score_thr,
                out_file=str(drawn_file(self.folder, self._names, image, Path(image).suffix)),
                step=self._count,
            )

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        runner.logger.info(f"Drawn predictions: {self._count} images in {self.folder}")

    def _read(self, image: str, shape: tuple[int, int]) -> np.ndarray:
        """Return the pixels (H, W, 3) uint8 RGB of an image."""
        if os.path.isfile(image):
            return read_photograph(image, shape, self._bit_depth)
        import mmcv
        from mmengine.fileio import get

        return mmcv.imfrombytes(get(image, backend_args=self.backend_args), channel_order="rgb")
