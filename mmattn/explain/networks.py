"""Run a network on an image so that what it predicts can be differentiated.

Three kinds of outputs are known: logits of semantic segmentation, detections, and the classes and
masks of queries. Nothing of the network is changed for good: a context that is left puts all back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmattn.errors import ConfigError

from .placement import Placement

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass
class Sample:
    """An image, prepared for a network.

    Attributes:
        file: Where it was read from.
        pixels: (H, W, 3) uint8 RGB, as it was read.
        inputs: (1, 3, H', W') of the network, normalised and padded.
        data: Data samples of mmdet or mmseg, with the metadata.
        placement: Where the input lies on the image.
    """

    file: Path
    pixels: np.ndarray
    inputs: Tensor
    data: list[Any]
    placement: Placement


@dataclass
class Outputs:
    """What a network says about one image, with gradients; what it has not is None.

    Attributes:
        semantic: (K, H', W') logits, or scores, at the size of the input.
        boxes: (N, 4) x0, y0, x1, y1 in the input.
        scores: (N,) of the boxes, in descending order.
        labels: (N,) class of the boxes.
        query_classes: (Q, K + 1) logits of the queries' classes; the last is "no object".
        query_masks: (Q, h, w) logits of the queries' masks.
    """

    semantic: Tensor | None = None
    boxes: Tensor | None = None
    scores: Tensor | None = None
    labels: Tensor | None = None
    query_classes: Tensor | None = None
    query_masks: Tensor | None = None


class Network:
    """A trained network, its test pipeline and its class names.

    Args:
        cfg: Config of a segmentor or a detector.
        checkpoint: File of its weights; None leaves them random, to try things out.
        device: Device of the network; a GPU if there is one.
        allow_partial: Accept a checkpoint that lacks weights which inference uses.

    Raises:
        ConfigError: The config has no test pipeline, or its results are none that are known.
        CheckpointError: The weights do not belong to the network.

    Attributes:
        kind: ``"semantic"``, ``"boxes"`` or ``"masks"``, what it predicts.
        has_class_names: Whether the checkpoint or the config names the classes.
        is_probability: Whether semantic outputs are scores from 0 on, not logits.
    """

    def __init__(
        self,
        cfg: Config,
        checkpoint: str | Path | None,
        device: str | torch.device | None = None,
        *,
        allow_partial: bool = False,
    ) -> None:
        from mmattn.inference import load_torch_predictor

        # Not fused: what is looked at are the layers that were trained.
        predictor = load_torch_predictor(
            cfg,
            checkpoint,  # pyright: ignore[reportArgumentType]
            device=device,
            fuse=False,
            allow_partial=allow_partial,
        )
        self.name = Path(cfg.filename or "model").stem
        self.pipeline = predictor.pipeline
        self.model: Any = predictor.model
        self.classes = list(predictor.classes)
        self.has_class_names = bool((self.model.dataset_meta or {}).get("classes"))
        self.is_probability = predictor.result == "classes" and self.has_mask_queries
        self.kind = {"classes": "semantic", "boxes": "boxes", "segments": "masks"}[predictor.result]
        if self.kind == "boxes" and self.has_mask_queries:
            self.kind = "masks"
        elif self.kind == "masks" and not self.has_mask_queries:
            self.kind = "boxes"  # a Panoptic FPN's objects

    @property
    def _mask_head(self) -> Any:
        for name in ("panoptic_head", "decode_head"):
            head = getattr(self.model, name, None)
            if head is not None:
                return head
        return None

    @property
    def has_mask_queries(self) -> bool:
        """Whether the network predicts a class and a mask for each of some queries."""
        return getattr(self._mask_head, "num_queries", None) is not None

    def prepare(self, file: str | Path) -> Sample:
        """Read an image as a test would, batch of one.

        Raises:
            DataError: The file cannot be read.
        """
        file = Path(file)
        packed, pixels = self.pipeline(file)
        batch = {key: [value] for key, value in packed.items()}
        data = self.model.data_preprocessor(batch, False)
        inputs = data["inputs"].float()
        meta = data["data_samples"][0].metainfo
        return Sample(
            file, pixels, inputs, data["data_samples"], Placement.of(inputs, meta, pixels.shape[:2])
        )

    def __call__(self, inputs: Tensor, sample: Sample, *, queries: bool = False) -> Outputs:
        """Run the network on one input, (1, 3, H', W'), in eval mode.

        Args:
            inputs: That of ``sample``, or one that was changed.
            sample: Image whose metadata are used.
            queries: Whether a segmentor returns its queries, and not the label map made of them.
        """
        if self.kind == "masks" or queries:
            return self._queries(inputs, sample)
        if self.kind == "boxes":
            return self._detect(inputs, sample)
        metas = [data.metainfo for data in sample.data]
        logits = self.model.encode_decode(inputs, metas)
        if logits.shape[2:] != inputs.shape[2:]:
            logits = nn.functional.interpolate(
                logits, inputs.shape[2:], mode="bilinear", align_corners=False
            )
        logits = logits[0]
        if len(logits) == 1:  # of two classes, the second against the first
            logits = torch.cat([torch.zeros_like(logits), logits])
        return Outputs(semantic=logits)

    def outputs_of(self, sample: Sample) -> Outputs:
        """Return all outputs of an image without gradients: what targets are chosen by."""
        with evaluation(self.model), torch.no_grad():
            outputs = self(sample.inputs, sample)
            if self.kind == "semantic" and self.has_mask_queries:
                found = self._queries(sample.inputs, sample)
                outputs.query_classes, outputs.query_masks = found.query_classes, found.query_masks
        return outputs

    def _queries(self, inputs: Tensor, sample: Sample) -> Outputs:
        head = self._mask_head
        if not self.has_mask_queries:
            raise ConfigError(f"{self.name}: {type(self.model).__name__} has no queries with masks")
        features = self.model.extract_feat(inputs)
        if hasattr(head, "predict_masks"):
            found = head.predict_masks(features, every_layer=False)
            return Outputs(
                query_classes=found.class_logits[-1][0], query_masks=found.mask_logits()[0]
            )
        classes, masks = head(features, deepcopy(sample.data))
        return Outputs(query_classes=classes[-1][0], query_masks=masks[-1][0])

    def _detect(self, inputs: Tensor, sample: Sample) -> Outputs:
        with _differentiable_boxes(self.model):
            (found,) = self.model.predict(inputs, deepcopy(sample.data), rescale=False)
        found = found.pred_instances
        boxes = getattr(found.bboxes, "tensor", found.bboxes)
        order = found.scores.detach().argsort(descending=True, stable=True)
        return Outputs(boxes=boxes[order], scores=found.scores[order], labels=found.labels[order])


class _KeepGraph(TorchFunctionMode):
    """While it is active, ``detach`` returns its tensor with its history."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.detach:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def _differentiable_boxes(model: nn.Module) -> Iterator[None]:
    """Let boxes and their scores keep their history from what the head predicts on.

    Heads of mmdet cut it when they turn logits into boxes, since nobody needs it in a test. What is
    in front of the logits, such as the reference points of a decoder, is cut as ever.
    """
    if not torch.is_grad_enabled():
        yield
        return
    mode, entered = _KeepGraph(), []

    def enter(*_: Any) -> None:
        if not entered:
            entered.append(mode.__enter__())

    head = getattr(model, "bbox_head", None)
    handle = None if head is None else head.register_forward_hook(enter)
    try:
        yield
    finally:
        if handle is not None:
            handle.remove()
        if entered:
            mode.__exit__(None, None, None)


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Eval mode without checkpointed layers, which would be run and recorded twice."""
    modes = {module: module.training for module in model.modules()}
    recomputing = [
        (module, name)
        for module in model.modules()
        for name in ("with_cp", "recompute", "use_checkpoint", "grad_checkpointing")
        if vars(module).get(name) is True
    ]
    try:
        model.eval()
        for module, name in recomputing:
            setattr(module, name, False)
        yield
    finally:
        for module, name in recomputing:
            setattr(module, name, True)
        for module, mode in modes.items():
            module.training = mode
