"""Promise: the loss of a batch without a single labelled pixel is finite and attached to the graph.

So it gives gradients of zero, or those of the background, in one process as in many: a loss without
a graph would leave the other processes of a training waiting. ``tests/faults/test_every_system.py``
has whole systems, and boxes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor

from mmattn.config.registry_scope import enter_scope
from mmattn.registry import MODELS as OURS

LOSSES: dict[str, dict[str, Any]] = {
    "cross entropy": {"type": "CrossEntropyLoss"},
    "cross entropy, mean of the labelled": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    "binary cross entropy": {"type": "CrossEntropyLoss", "use_sigmoid": True},
    "binary, mean of the labelled": {
        "type": "CrossEntropyLoss", "use_sigmoid": True, "avg_non_ignore": True,
    },
    "weighted": {"type": "CrossEntropyLoss", "class_weight": [0.5, 1.0, 2.0]},
    "Dice": {"type": "DiceLoss"},
    "Lovasz": {"type": "LovaszLoss", "per_image": True},
    "Tversky": {"type": "TverskyLoss"},
    "OHEM": {"type": "OhemCrossEntropy", "class_weight": [1.0, 1.0, 1.0]},
    "BEVANet, all pixels": {"type": "mmattn.AllPixelCrossEntropy"},
    "BEVANet, hard pixels": {"type": "mmattn.HardPixelCrossEntropy"},
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_all_pixels_ignored(name: str) -> None:
    enter_scope(Config({"default_scope": "mmseg"}))
    loss = MODELS.build(dict(LOSSES[name]))
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    labels = torch.full((2, 8, 8), 255)
    value = loss(logits, labels, **({} if name == "OHEM" else {"ignore_index": 255}))
    check(value, [logits])
    if name not in ("Dice", "Tversky"):  # which compare areas, here those of nothing
        assert float(value.detach()) == 0.0


def test_category_consistent_loss_of_nothing() -> None:
    features = torch.randn(2, 4, 8, 8, requires_grad=True)
    labels = torch.full((2, 8, 8), 255)
    value = OURS.build({"type": "CategoryConsistentLoss"})(features, labels, ignore_index=255)
    check(value, [features])
    assert float(value.detach()) == 0.0


def check(value: Tensor, leaves: list[Tensor]) -> None:
    """The loss is finite and has a graph, along which no gradient is anything else."""
    assert torch.isfinite(value).all(), value
    assert value.requires_grad
    value.backward()
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
