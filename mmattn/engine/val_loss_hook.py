"""The loss on the validation set, beside the metrics: where it rises, the network learns by heart.

A model's loss needs what training needs: annotations in the coordinates of the resized picture, and
every output that the losses look at. So each validation picture is read once more, through the
validation pipeline with its annotations loaded before the picture is resized, and the model is run
as in training, except that nothing is random and nothing is remembered: no dropout, stored
statistics in normalisation, fixed random numbers, and buffers put back afterwards.
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
from mmengine.model import is_model_wrapper
from mmengine.runner.amp import autocast
from torch import nn

from mmattn.errors import ConfigError
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner
    from torch.utils.data import DataLoader

# Steps that read the picture, which annotations have to follow at once.
_READERS = ("LoadImageFromFile", "LoadImageFromNDArray", "LoadMultiChannelImageFromFiles")


@HOOKS.register_module()
class ValLossHook(Hook):
    """Adds ``val_loss``, and its parts as ``val_<part>``, to the metrics of each validation.

    They are the means over the pictures, each taken by itself; the number of processes changes
    nothing. They go wherever metrics go: log, ``scalars.json``, ``save_best='val_loss'``, early
    stopping.

    Args:
        pipeline: How to read a picture with its annotations; by default the validation pipeline,
            with the steps that load annotations moved to right behind the picture's.

    Raises:
        ConfigError: The pipeline loads no annotations, or the model needs some that are not there.
    """

    # Before RuntimeInfoHook, which hands the metrics to the loggers.
    priority = "HIGHEST"

    def __init__(self, pipeline: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.pipeline = pipeline
        self._loader: DataLoader | None = None

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Compute the losses and add them to ``metrics``, in place."""
        if metrics is None:
            return
        if self._loader is None:
            self._loader = self._build_loader(runner)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        with as_in_training(model), autocast(enabled=runner.val_loop.fp16):
            losses = [self._losses(model, batch) for batch in self._loader]
        metrics.update(_mean(losses, len(self._loader.dataset)))

    def _build_loader(self, runner: Runner) -> DataLoader:
        from mmattn.data.checks import leaf_datasets

        cfg = deepcopy(dict(runner.cfg.val_dataloader))
        cfg["batch_size"] = 1
        cfg.pop("batch_sampler", None)
        cfg["sampler"] = {"type": "DefaultSampler", "shuffle": False}
        for where, leaf in leaf_datasets(cfg["dataset"], "val_dataloader.dataset"):
            leaf["pipeline"] = self.pipeline or with_early_annotations(leaf["pipeline"], where)
        return runner.build_dataloader(cfg, seed=runner.seed)

    @staticmethod
    def _losses(model: nn.Module, batch: Mapping[str, Any]) -> dict[str, float]:
        try:
            data = model.data_preprocessor(batch, True)
            _, parts = model.parse_losses(model(**data, mode="loss"))
        except AttributeError as error:
            if not str(error.name).startswith("gt_"):
                raise
            raise ConfigError(
                f"ValLossHook: the loss needs what the pipeline does not load: {error}. Give "
                "pipeline= with the step that makes it (mmseg.GenerateEdge for edge maps, say)."
            ) from error
        return {f"val_{name}": float(value) for name, value in parts.items() if "loss" in name}


def with_early_annotations(pipeline: Sequence[Mapping], where: str) -> list[Mapping]:
    """A pipeline whose annotations are loaded before the picture is resized.

    Raises:
        ConfigError: It loads none, or no picture.
    """
    names = [str(step["type"]).rpartition(".")[2] for step in pipeline]
    annotations = [
        step
        for step, name in zip(pipeline, names, strict=True)
        if name.startswith("Load") and name not in _READERS
    ]
    readers = [index for index, name in enumerate(names) if name in _READERS]
    if not readers or not annotations:
        missing = "annotations" if readers else "picture"
        raise ConfigError(
            f"ValLossHook: {where}.pipeline loads no {missing}. Give pipeline= with the steps that "
            "read a picture and its annotations."
        )
    first = readers[0]
    others = [step for step in pipeline[first + 1 :] if step not in annotations]
    before = [step for step in pipeline[: first + 1] if step not in annotations]
    return [*before, *annotations, *others]


@contextmanager
def as_in_training(model: nn.Module) -> Iterator[None]:
    """Let ``model`` answer as in training, but without chance, memory and gradients.

    Many heads return what their losses need in training mode only. Within it, normalisation and
    dropout are in evaluation mode, augmentation of batches is off, and random numbers, of samplers
    for instance, are always the same ones. Buffers are put back at the end.
    """
    from mmattn.data.datasets.seeded import seeded_generators

    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    preprocessor = model.data_preprocessor
    augments = getattr(preprocessor, "batch_augments", None)
    try:
        model.train()
        for module in model.modules():
            if _is_random_or_remembers(module):
                module.eval()
        if augments is not None:
            preprocessor.batch_augments = None
        with seeded_generators(0), torch.no_grad():
            yield
    finally:
        if augments is not None:
            preprocessor.batch_augments = augments
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        for module, mode in modes.items():
            module.training = mode


def _is_random_or_remembers(module: nn.Module) -> bool:
    norms = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    return isinstance(module, norms) or "Drop" in type(module).__name__


def _mean(losses: list[dict[str, float]], pictures: int) -> dict[str, float]:
    """Means over the pictures of all processes, each counted once."""
    collected = collect_results(losses, pictures, "cpu")
    found: list[dict[str, float] | None] = [None]
    if is_main_process():
        names = dict.fromkeys(name for one in collected for name in one)
        count = len(collected)
        # fsum rounds once, whatever the order.
        found = [{n: math.fsum(one.get(n, 0.0) for one in collected) / count for n in names}]
    broadcast_object_list(found)
    return found[0]
