"""Checks of every variant before the first of them is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mmattn.errors import ConfigError, MMAttnError
from mmattn.inference.model import build_model

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch.utils.data import Dataset

Batch = Mapping[str, Any]


def build_datasets(cfg: Config) -> tuple[Dataset, Dataset]:
    """Build the training and the validation dataset of ``cfg``.

    Raises:
        ConfigError: A dataset is empty.
    """
    from mmengine.registry import DATASETS

    built = []
    for split in ("train", "val"):
        dataset = DATASETS.build(deepcopy(cfg[f"{split}_dataloader"].dataset))
        if hasattr(dataset, "full_init"):
            dataset.full_init()
        if len(dataset) == 0:
            raise ConfigError(f"{cfg.filename}: {split}_dataloader.dataset has no samples.")
        built.append(dataset)
    return built[0], built[1]


def collate_first(cfg: Config, split: str, dataset: Dataset, count: int) -> Batch:
    """Collate the first ``count`` samples as the split's dataloader would."""
    from mmengine.registry import FUNCTIONS

    given = cfg[f"{split}_dataloader"].get("collate_fn") or {"type": "pseudo_collate"}
    arguments = {key: value for key, value in given.items() if key != "type"}
    collate = FUNCTIONS.get(given["type"]) if isinstance(given["type"], str) else given["type"]
    return collate([dataset[index % len(dataset)] for index in range(count)], **arguments)


@contextmanager
def naming_variant(name: str) -> Iterator[None]:
    """Put the name of a variant in front of the errors of a block of code.

    Raises:
        MMAttnError: Error of the same class as the one raised inside; a ConfigError for other ones.
    """
    try:
        yield
    except MMAttnError as error:
        raise type(error)(f"{name}: {error}") from error
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise ConfigError(f"{name}: {type(error).__name__}: {reason}") from error


def check_variant(cfg: Config, train_batch: Batch, val_batch: Batch) -> nn.Module:
    """Build the model of ``cfg``, take one step without updating anything, and predict once.

    Args:
        cfg: Config of the variant.
        train_batch, val_batch: Batches of its training and validation data.

    Returns:
        The model, in eval mode.

    Raises:
        MMAttnError: The model can't be built.
        ConfigError: Its loss or a gradient is not finite, or no block receives a gradient.
    """
    model = build_model(cfg)
    loss = training_loss(model, train_batch)
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise ConfigError(f"the gradient of {name} is not finite on the first images.")
    blocks = [p for name, p in model.named_parameters() if ".plugins." in f".{name}"]
    if blocks and all(parameter.grad is None for parameter in blocks):
        raise ConfigError(
            "the inserted block receives no gradient: no loss depends on the layer where it was "
            "inserted. Insert it at a layer whose output a head reads; mmattn slots lists the "
            "layers."
        )
    model.zero_grad(set_to_none=True)
    model.eval()
    with torch.no_grad():
        model.val_step(deepcopy(val_batch))
    return model


def metric_names(cfg: Config, model: nn.Module, dataset: Dataset, batch: Batch) -> list[str]:
    """Return the names of the metrics that the evaluation of ``cfg`` gives.

    The first images are evaluated. Where an untrained detector finds nothing on them, which COCO's
    metric answers with no names, one detection is made up.

    Args:
        cfg: Config of a variant.
        model: Its model, in eval mode.
        dataset: Its validation dataset.
        batch: Batch of that dataset.

    Returns:
        The names; none where the evaluation returns nothing.
    """
    from mmengine.evaluator import Evaluator

    given = cfg.val_evaluator
    evaluator = Evaluator(given.metrics if "metrics" in given else given)
    if hasattr(dataset, "metainfo"):
        evaluator.dataset_meta = dataset.metainfo
    with torch.no_grad():
        samples = model.val_step(deepcopy(batch))
    for change in (lambda sample: None, _detect_something):
        for sample in samples:
            change(sample)
        evaluator.process(data_samples=samples, data_batch=batch)
        if names := list(evaluator.evaluate(len(samples))):
            return names
    return []


def _detect_something(sample: Any) -> None:
    """Put one detection in place of those of a sample, where it is one of a detector."""
    found = getattr(sample, "pred_instances", None)
    if found is None:
        return
    height, width = sample.ori_shape[:2]
    made_up = type(found)(
        bboxes=torch.tensor([[0.0, 0.0, width, height]]),
        scores=torch.ones(1),
        labels=torch.zeros(1, dtype=torch.long),
        masks=torch.ones(1, height, width, dtype=torch.bool),
    )
    sample.pred_instances = made_up


def training_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Compute the loss of ``batch`` in training mode, as in the first iteration of a training.

    Raises:
        ConfigError: The loss is not finite.
    """
    from mmengine.logging import MessageHub

    # Some models look there which iteration it is: mmdet's random sizes change in every tenth.
    MessageHub.get_current_instance().update_info("iter", 0)
    model.train()
    data = model.data_preprocessor(deepcopy(batch), True)
    inputs = data if isinstance(data, Mapping) else {}
    loss, _ = model.parse_losses(model(**inputs, mode="loss"))
    if not loss.isfinite():
        raise ConfigError(f"the loss is {float(loss)} on the first images.")
    return loss


def network_call(model: nn.Module, batch: Batch) -> Callable[[], Any]:
    """Return a call of the forward pass on ``batch``, without post-processing.

    Resizing to the image, decoding of boxes and NMS are not part of it.
    """
    data = model.data_preprocessor(deepcopy(batch), False)

    def call() -> Any:
        return model(**data, mode="tensor")

    return call
