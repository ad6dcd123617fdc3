"""Compute the loss on the validation set; a rising validation loss signals overfitting.

A model's loss needs what training needs: annotations in the coordinates of the resized image, and
every output that the losses use. So each validation image is read once more, through the
validation pipeline with its annotations loaded before the image is resized, and the model runs in
training mode, but with a fixed seed, dropout off, stored statistics in normalisation layers, and
buffers restored afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import broadcast_object_list, collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.runner.amp import autocast
from torch import nn

from mmattn.config.walk import leaf_datasets
from mmattn.errors import ConfigError, MMAttnError
from mmattn.inference.model import unwrap_model
from mmattn.registry import HOOKS
from mmattn.tasks import TASKS
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

# Steps of a training pipeline that make targets of losses, beside the annotations.
_TARGETS = {step for task in TASKS for step in task.target_steps}
# Steps that read the image, which annotations have to follow at once.
_READERS = ("LoadImageFromFile", "LoadImageFromNDArray", "LoadMultiChannelImageFromFiles")


@HOOKS.register_module()
class ValLossHook(Hook):
    """Add ``val_loss``, and its parts as ``val_<part>``, to the metrics of each validation.

    They are means over the images, with a batch size of 1, and go wherever metrics go: log,
    ``scalars.json``, ``save_best='val_loss'``, early stopping.

    Args:
        pipeline: Transforms that read an image with its annotations. By default the validation
            pipeline, whose steps that load annotations follow the image's at once, with the steps
            of the training pipeline that make edge maps.

    Raises:
        ConfigError: Before the training: the pipeline loads no annotations, or the loss of the
            first image cannot be computed, because it needs other annotations for example.
    """

    # Before RuntimeInfoHook, which hands the metrics to the loggers.
    priority = "HIGHEST"

    def __init__(self, pipeline: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.pipeline = pipeline
        self._loader: DataLoader | None = None

    def before_train(self, runner: Runner) -> None:
        """Compute the loss of one image, so that a mistake shows before the first validation."""
        if runner.val_loop is None:
            return
        self._loader = self._build_loader(runner)
        model = unwrap_model(runner)
        try:
            with as_in_training(model), autocast(enabled=runner.val_loop.fp16):
                batch = self._loader.collate_fn([self._loader.dataset[0]])
                _losses(model, batch)
        except MMAttnError:
            raise
        except Exception as error:
            raise ConfigError(
                f"ValLossHook: a validation image's loss fails: {type(error).__name__}: {error}. "
                "If the loss needs what the pipeline does not load, give pipeline= with the step "
                "that makes it."
            ) from error

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Compute the losses and add them to ``metrics``, in place."""
        if metrics is None:
            return
        if self._loader is None:  # a validation by itself
            self._loader = self._build_loader(runner)
        model = unwrap_model(runner)
        with as_in_training(model), autocast(enabled=runner.val_loop.fp16):
            losses = [_losses(model, batch) for batch in self._loader]
        metrics.update(_mean(losses, len(self._loader.dataset)))

    def _build_loader(self, runner: Runner) -> DataLoader:
        cfg = deepcopy(dict(runner.cfg.val_dataloader))
        cfg["batch_size"] = 1
        cfg.pop("batch_sampler", None)
        cfg["sampler"] = {"type": "DefaultSampler", "shuffle": False}
        train = (runner.cfg.get("train_dataloader") or {}).get("dataset") or {}
        # Datasets that are mixed are read alike.
        training = next((leaf.get("pipeline") for _, leaf in leaf_datasets(train, "")), None) or ()
        for where, leaf in leaf_datasets(cfg["dataset"], "val_dataloader.dataset"):
            leaf["pipeline"] = self.pipeline or with_targets(
                with_early_annotations(leaf["pipeline"], where), training
            )
        return runner.build_dataloader(cfg, seed=runner.seed)


def _losses(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, float]:
    data = model.data_preprocessor(batch, True)
    _, parts = model.parse_losses(model(**data, mode="loss"))
    return {f"val_{name}": float(value) for name, value in parts.items() if "loss" in name}


def _names(pipeline: Sequence[Mapping]) -> list[str]:
    return [bare_name(step["type"]) for step in pipeline]


def _loads_annotations(name: str) -> bool:
    return name.startswith("Load") and name not in _READERS


def with_early_annotations(pipeline: Sequence[Mapping], where: str) -> list[Mapping]:
    """Return ``pipeline`` with its annotations loaded before the image is resized.

    Args:
        pipeline: Transforms of a validation dataset.
        where: Config key of the dataset, used in messages.

    Raises:
        ConfigError: The pipeline loads no annotations, or no image.
    """
    names = _names(pipeline)
    annotations = [
        step for step, name in zip(pipeline, names, strict=True) if _loads_annotations(name)
    ]
    readers = [index for index, name in enumerate(names) if name in _READERS]
    if not readers or not annotations:
        missing = "annotations" if readers else "image"
        raise ConfigError(
            f"ValLossHook: {where}.pipeline loads no {missing}. Give pipeline= with the steps that "
            "read an image and its annotations."
        )
    first = readers[0]
    others = [step for step in pipeline[first + 1 :] if step not in annotations]
    before = [step for step in pipeline[: first + 1] if step not in annotations]
    return [*before, *annotations, *others]


def with_targets(pipeline: Sequence[Mapping], training: Sequence[Mapping]) -> list[Mapping]:
    """Add the steps of ``training`` that make edge maps to a pipeline that makes none.

    Steps that directly follow the annotations in ``training``, before any scaling, do so in the
    result; the others come last, right before the packing.
    """
    result, names = list(pipeline), _names(training)
    if not set(_TARGETS).isdisjoint(_names(pipeline)):
        return result
    for index, name in enumerate(names):
        if name not in _TARGETS:
            continue
        position = len(result) - 1
        if all(earlier.startswith("Load") or earlier in _TARGETS for earlier in names[:index]):
            targets = [_loads_annotations(step) or step in _TARGETS for step in _names(result)]
            position = len(targets) - targets[::-1].index(True)
        result.insert(position, training[index])
    return result


@contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Put ``model`` in training mode with a fixed seed, without dropout and gradients.

    Many heads return what their losses need in training mode only. Inside, layers that normalise,
    drop or attend (``nn.MultiheadAttention``, for its dropout) are in eval mode, and batch
    augmentation is off. Samplers, ``functional.dropout`` and others still draw random numbers,
    always the same ones. Modes and buffers are restored at the end.
    """
    from mmattn.data.generators import seeded_generators

    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    preprocessor = model.data_preprocessor
    augments = getattr(preprocessor, "batch_augments", None)
    try:
        model.train()
        for module in model.modules():
            if _is_random_or_has_statistics(module):
                module.eval()
        if augments is not None:
            preprocessor.batch_augments = None
        device = next((p.device for p in model.parameters()), None)
        with seeded_generators(0, device=device), torch.no_grad():
            yield
    finally:
        if augments is not None:
            preprocessor.batch_augments = augments
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        for module, mode in modes.items():
            module.training = mode


def _is_random_or_has_statistics(module: nn.Module) -> bool:
    types = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.MultiheadAttention)
    return isinstance(module, types) or "Drop" in type(module).__name__


def _mean(losses: list[dict[str, float]], images: int) -> dict[str, float]:
    """Average over the images of all processes, each counted once."""
    collected = collect_results(losses, images, "cpu")
    means: list[dict[str, float]] = [{}]
    if is_main_process():
        names = dict.fromkeys(name for image in collected for name in image)
        count = len(collected)
        # fsum rounds once, whatever the order.
        means = [{n: math.fsum(image.get(n, 0.0) for image in collected) / count for n in names}]
    broadcast_object_list(means)
    return means[0]
