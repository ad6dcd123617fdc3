"""Everything that can go wrong with a variant, before the first of them is trained."""

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
    """The training and the validation set of ``cfg``."""
    from mmengine.registry import DATASETS

    built = []
    for split in ("train", "val"):
        dataset = DATASETS.build(deepcopy(cfg[f"{split}_dataloader"].dataset))
        if hasattr(dataset, "full_init"):
            dataset.full_init()
        if len(dataset) == 0:
            raise ConfigError(f"{cfg.filename}: {split}_dataloader.dataset is empty.")
        built.append(dataset)
    return built[0], built[1]


def collated(cfg: Config, split: str, dataset: Dataset, count: int) -> Batch:
    """The first ``count`` samples as the split's dataloader would hand them to the model."""
    from mmengine.registry import FUNCTIONS

    given = cfg[f"{split}_dataloader"].get("collate_fn") or {"type": "pseudo_collate"}
    arguments = {key: value for key, value in given.items() if key != "type"}
    collate = FUNCTIONS.get(given["type"]) if isinstance(given["type"], str) else given["type"]
    return collate([dataset[index % len(dataset)] for index in range(count)], **arguments)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Let errors say which variant they are about.

    Raises:
        MMAttnError: Of the kind raised inside; of other kinds a ConfigError.
    """
    try:
        yield
    except MMAttnError as error:
        raise type(error)(f"{what}: {error}") from error
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError, IndexError) as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise ConfigError(f"{what}: {type(error).__name__}: {reason}") from error


def check_variant(cfg: Config, train_batch: Batch, val_batch: Batch) -> nn.Module:
    """Build the model of ``cfg``, take one step without updating anything, and predict once.

    Args:
        cfg: The variant's config.
        train_batch, val_batch: Of the config's data.

    Returns:
        The model, in eval mode.

    Raises:
        MMAttnError: The model can't be built.
        ConfigError: Its loss or a gradient is not finite, or no block gets one.
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
            "no gradient reaches the block: nothing that the model learns from comes by its place."
        )
    model.zero_grad(set_to_none=True)
    model.eval()
    with torch.no_grad():
        model.val_step(deepcopy(val_batch))
    return model


def training_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss of ``batch`` in training mode.

    Raises:
        ConfigError: It is not finite.
    """
    model.train()
    data = model.data_preprocessor(deepcopy(batch), True)
    inputs = data if isinstance(data, Mapping) else {}
    loss, _ = model.parse_losses(model(**inputs, mode="loss"))
    if not loss.isfinite():
        raise ConfigError(f"the loss is {float(loss)} on the first images.")
    return loss


def network_call(model: nn.Module, batch: Batch) -> Callable[[], Any]:
    """The forward pass alone (no decoding, no resizing to the image) on ``batch``."""
    data = model.data_preprocessor(deepcopy(batch), False)

    def call() -> Any:
        return model(**data, mode="tensor")

    return call
