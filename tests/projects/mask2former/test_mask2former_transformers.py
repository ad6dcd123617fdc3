"""Promise: class and mask logits, and losses, are those of transformers for the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.projects.mask2former import Mask2FormerNetwork, MaskPredictions
from mmattn.projects.mask2former.loss import MaskMatchingLoss
from mmattn.projects.mask2former.mask_bits import MaskBits
from mmattn.projects.mask2former.targets import MaskTargets
from tests.support.mask2former_weights import our_names, swin_tiny

pytest.importorskip("transformers", reason="transformers, the oracle, is not installed")
CLASSES = 7


@pytest.fixture(scope="module")
def theirs() -> Any:
    return swin_tiny(CLASSES)


@pytest.fixture(scope="module")
def ours(theirs) -> Mask2FormerNetwork:
    network = Mask2FormerNetwork(theirs.model.pixel_level_module.encoder.channels, CLASSES)
    network.load_state_dict(our_names(theirs.state_dict()))
    return network.eval()


@pytest.mark.parametrize("size", [(256, 320), (96, 64)])
def test_logits_of_all_layers(theirs, ours, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = theirs(images, output_auxiliary_logits=True)
        features = theirs.model.pixel_level_module.encoder(images).feature_maps
        found = ours.predict_masks(features, every_layer=True)
        last = ours.predict_masks(features, every_layer=False)
    layers = [*expected.auxiliary_logits, expected]
    assert len(layers) == len(found.class_logits) == 10
    for index, layer in enumerate(layers):
        for logits, key in (
            (found.class_logits[index], "class_queries_logits"),
            (found.mask_logits(index), "masks_queries_logits"),
        ):
            torch.testing.assert_close(logits, layer[key], rtol=0, atol=1e-4)
    torch.testing.assert_close(last.class_logits[0], found.class_logits[-1])
    torch.testing.assert_close(last.mask_logits(), found.mask_logits())


def test_losses_of_all_layers(theirs, monkeypatch) -> None:
    """With points that depend on nothing but how many are drawn, and so with the same matching."""
    given = loss_inputs()
    labels, masks = given.pop("labels"), given.pop("masks")
    draw = torch.rand

    def same_points(*size: int, device: Any = None) -> Any:
        return draw(*size, generator=torch.Generator().manual_seed(sum(size)))

    monkeypatch.setattr(torch, "rand", same_points)
    predictions = MaskPredictions(**given)
    found = MaskMatchingLoss(CLASSES)(
        predictions,
        [
            MaskTargets(of_image, MaskBits.of_tensor(mask, (64, 80)))
            for of_image, mask in zip(labels, masks, strict=True)
        ],
    )
    every = [
        {"masks_queries_logits": predictions.mask_logits(i), "class_queries_logits": logits}
        for i, logits in enumerate(predictions.class_logits)
    ]
    expected = theirs.get_loss_dict(
        **every[-1],
        mask_labels=[mask.float() for mask in masks],
        class_labels=labels,
        auxiliary_predictions=every[:-1],
    )
    assert len(expected) == 3 * len(every) == len(found) - 1
    names = {"loss_cross_entropy": "loss_cls", "loss_mask": "loss_mask", "loss_dice": "loss_dice"}
    for key, value in expected.items():
        name, _, layer = key.rpartition("_") if key[-1].isdigit() else (key, "", "")
        ours = f"d{layer}.{names[name]}" if layer else names[name]
        torch.testing.assert_close(found[ours], value.detach(), rtol=1e-5, atol=1e-5)


def loss_inputs(layers: int = 4) -> dict[str, Any]:
    """Predictions of some layers, and objects of which some touch the border."""
    random = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=random)

    masks = [
        F.interpolate(normal(1, count, 5, 6), (64, 80), mode="bilinear")[0] > 0 for count in (3, 5)
    ]
    return {
        "class_logits": normal(layers, 2, 20, CLASSES + 1),
        "mask_embeddings": normal(layers, 2, 20, 32),
        "mask_features": normal(2, 32, 16, 20),
        "labels": [torch.randint(0, CLASSES, (len(mask),), generator=random) for mask in masks],
        "masks": masks,
    }
