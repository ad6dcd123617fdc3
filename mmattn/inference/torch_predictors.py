"""Models in torch as predictors: test pipeline, data preprocessor, network, as in a test."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmattn.detections import Detections
from mmattn.detections.mmdet_panoptic import labels_of_ids
from mmattn.detections.segment_map import SegmentMap
from mmattn.errors import ConfigError
from mmattn.tasks import task_of

from .images import TestPipeline
from .model import build_model
from .predictor import LoadedImage

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mmengine.config import Config
    from torch import nn


class _TorchPredictor:
    """Base: a model and the test pipeline that prepares images for it."""

    classes: Sequence[str]
    remark: str = ""

    def __init__(self, model: Any, pipeline: TestPipeline) -> None:
        self.model = model
        self.pipeline = pipeline
        self.palette: Sequence[Sequence[int]] | None = _palette(model)
        self._of_thread = threading.local()

    def __call__(self, image: np.ndarray) -> Any:
        """Return the result of (H, W, 3) uint8 RGB."""
        return self.predict(self.pipeline.prepare(image))

    def predict_file(self, file: Path) -> tuple[Any, np.ndarray]:
        """Return the result of an image file, and the image, (H, W, 3) uint8 RGB."""
        prepared, pixels = self.pipeline(file)
        return self.predict(prepared), pixels

    def load_file(self, file: Path) -> LoadedImage:
        """Read and prepare an image file; each thread has a pipeline of its own."""
        if not hasattr(self._of_thread, "pipeline"):
            # Transforms may keep what they have drawn for one image in themselves.
            self._of_thread.pipeline = deepcopy(self.pipeline)
        prepared, pixels = self._of_thread.pipeline(file)
        shape = getattr(prepared.get("inputs"), "shape", None)  # a list of several is augmented
        return LoadedImage(prepared, pixels, None if shape is None else tuple(shape))

    def predict_loaded(self, images: Sequence[LoadedImage]) -> list[Any]:
        """Return the results of images whose prepared inputs have one shape."""
        return [self._result(sample) for sample in self._run([image.prepared for image in images])]

    def predict(self, prepared: dict[str, Any]) -> Any:
        """Return the result of what the test pipeline made of an image."""
        (sample,) = self._run([prepared])
        return self._result(sample)

    def _result(self, sample: Any) -> Any:
        raise NotImplementedError

    def _run(self, prepared: Sequence[dict[str, Any]]) -> list[Any]:
        import torch

        batch = {key: [one[key] for one in prepared] for key in prepared[0]}
        with torch.no_grad():
            return self.model.test_step(batch)


class TorchSegmentor(_TorchPredictor):
    """A semantic segmentor; results are classes, (H, W) uint8, uint16 for more than 256."""

    result: Literal["classes"] = "classes"

    def __init__(self, model: Any, pipeline: TestPipeline) -> None:
        super().__init__(model, pipeline)
        self.classes = known_classes(model) or [
            f"class {index}" for index in range(max(2, model.out_channels))
        ]

    def _result(self, sample: Any) -> np.ndarray:
        import numpy as np

        dtype = np.uint8 if len(self.classes) <= 256 else np.uint16
        return sample.pred_sem_seg.data[0].cpu().numpy().astype(dtype)


class TorchDetector(_TorchPredictor):
    """A detector of mmdet; results are ``Detections`` in pixels of the image."""

    result: Literal["boxes"] = "boxes"

    def __init__(self, model: Any, pipeline: TestPipeline) -> None:
        super().__init__(model, pipeline)
        self.classes = known_classes(model) or [
            f"class {index}" for index in range(_num_classes(model))
        ]

    def _result(self, sample: Any) -> Detections:
        found = sample.pred_instances
        boxes = getattr(found.bboxes, "tensor", found.bboxes)
        columns = (boxes, found.scores, found.labels)
        detections = Detections.of(*(values.cpu().numpy() for values in columns))
        height, width = sample.metainfo["ori_shape"][:2]
        return detections.clipped(height, width)


class TorchPanopticSegmentor(_TorchPredictor):
    """A panoptic segmentor of mmdet; results are ``SegmentMap`` at the size of the image.

    Attributes:
        things: Whether each class is a thing, whose objects are told apart.
    """

    result: Literal["segments"] = "segments"

    def __init__(self, model: Any, pipeline: TestPipeline) -> None:
        super().__init__(model, pipeline)
        head = model.panoptic_fusion_head
        count = head.num_things_classes + head.num_stuff_classes
        self.classes = known_classes(model) or [f"class {index}" for index in range(count)]
        self.things = [index < head.num_things_classes for index in range(len(self.classes))]

    def _result(self, sample: Any) -> SegmentMap:
        ids = sample.pred_panoptic_seg.sem_seg[0].cpu().numpy()
        labels = labels_of_ids(ids)
        known = {number: label for number, label in labels.items() if label < len(self.classes)}
        return SegmentMap.of(ids, known)


def load_torch_predictor(
    cfg: Config,
    checkpoint: str | Path,
    *,
    device: str | torch.device | None = None,
    fuse: bool = True,
    allow_partial: bool = False,
) -> TorchDetector | TorchPanopticSegmentor | TorchSegmentor:
    """Build a config's model with its weights as a predictor.

    Args:
        cfg: Config of a detector or a segmentor; its test pipeline prepares the images.
        checkpoint: File of the model's weights.
        device: Device of the model; a GPU if there is one.
        fuse: Run the fused model where the network has one (``mmattn.layers.fuse``).
        allow_partial: Accept a checkpoint that lacks weights which inference uses.

    Raises:
        ConfigError: The config has no test pipeline, or its results cannot be written.
        CheckpointError: The weights do not belong to the model.
    """
    import torch

    from mmattn.layers.fuse import fuse as fuse_model

    check_task(cfg)
    pipeline = TestPipeline(cfg)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(cfg, checkpoint, device, allow_partial=allow_partial)
    if fuse:
        model = fuse_model(model)
    if task_of(cfg).prediction == "pred_sem_seg":
        return TorchSegmentor(model, pipeline)
    if task_of(cfg).prediction == "pred_panoptic_seg":
        return TorchPanopticSegmentor(model, pipeline)
    detector = TorchDetector(model, pipeline)
    if task_of(cfg).name == "instance segmentation":
        detector.remark = "the model predicts masks too; only its boxes are written"
    return detector


def check_task(cfg: Config) -> None:
    """Raise a ConfigError for a config whose results are none that can be written."""
    task = task_of(cfg)
    if task.prediction not in ("pred_sem_seg", "pred_instances", "pred_panoptic_seg"):
        raise ConfigError(
            f"{cfg.filename or 'The config'} is about {task.name}; images can be predicted for "
            "detection and segmentation"
        )
    if task.prediction == "pred_panoptic_seg":
        test_cfg = cfg.model.get("test_cfg") or {}
        if "panoptic_fusion_head" not in cfg.model or not test_cfg.get("panoptic_on", True):
            raise ConfigError(
                f"{cfg.filename or 'The config'} is about {task.name}, and its model returns no "
                "panoptic map: it needs a panoptic_fusion_head and test_cfg.panoptic_on=True"
            )


def known_classes(model: Any) -> list[str]:
    """Return the class names of the data that the model was trained on, if it knows them."""
    return [str(name) for name in (model.dataset_meta or {}).get("classes") or ()]


def _palette(model: Any) -> Sequence[Sequence[int]] | None:
    palette = (model.dataset_meta or {}).get("palette")
    return None if isinstance(palette, str) else palette  # mmdet knows the word "random"


def _num_classes(model: nn.Module) -> int:
    """Return the number of classes of the first head that tells one."""
    for module in model.modules():
        number = getattr(module, "num_classes", None)
        if isinstance(number, int):
            return number
    raise ConfigError(f"{type(model).__name__} does not say how many classes it finds")
