"""BEVANets to test: of the paper's size, narrow ones, and one with weights that no draw decides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mmseg.models import EncoderDecoder
from torch import Tensor, nn

from mmattn.io.convert import convert_checkpoint
from mmattn.projects.bevanet import BEVANet
from tests.support.golden_weights import golden_image, golden_value

OFFICIAL = "bevanet-official"


def segmentor(variant: str = "", num_classes: int = 19, **head) -> EncoderDecoder:
    """The network of a paper's variant: "", "S", "SW" or "L"."""
    backbone = {"type": "mmattn.BEVANet", **(BEVANet.variants[variant] if variant else {})}
    return _assemble(backbone, num_classes, **head)


def narrow_segmentor(num_classes: int = 5, **head) -> EncoderDecoder:
    """An eighth of BEVANet's width, with every kind of layer."""
    backbone = {"type": "mmattn.BEVANet", "channels": 8, "num_blocks": (2, 2, 3)}
    return _assemble({**backbone, "context_channels": 16}, num_classes, channels=16, **head)


def _assemble(backbone: dict, num_classes: int, **head) -> EncoderDecoder:
    width = 4 * backbone.get("channels", 64)
    head = {"type": "mmattn.BEVAHead", "in_channels": width, "num_classes": num_classes, **head}
    return EncoderDecoder(backbone=backbone, decode_head=head, test_cfg={"mode": "whole"})


def official_state(model: nn.Module) -> dict[str, Tensor]:
    """The golden weights of ``model`` in the authors' layout."""
    state = convert_checkpoint(model.state_dict(), OFFICIAL, reverse=True).state_dict
    return {
        key: value
        if key.endswith("num_batches_tracked")
        else golden_value(key.removeprefix("model."), tuple(value.shape))
        for key, value in state.items()
    }


def filled(model: nn.Module) -> nn.Module:
    """``model`` with golden weights that came through the converter, in eval mode."""
    state = convert_checkpoint(official_state(model)).state_dict
    model.load_state_dict(state, strict=True)
    return model.eval()


@pytest.fixture(scope="session")
def build() -> Callable[..., EncoderDecoder]:
    return segmentor


@pytest.fixture(scope="session")
def build_narrow() -> Callable[..., EncoderDecoder]:
    return narrow_segmentor


@pytest.fixture(scope="session")
def golden_state() -> Callable[[nn.Module], dict[str, Tensor]]:
    return official_state


@pytest.fixture(scope="session")
def golden_small() -> EncoderDecoder:
    """BEVANet-S with golden weights."""
    return filled(segmentor("S"))


@pytest.fixture(scope="session")
def golden_narrow() -> EncoderDecoder:
    """The narrow network with golden weights."""
    return filled(narrow_segmentor())


@pytest.fixture(scope="session")
def image() -> Callable[..., Tensor]:
    return golden_image
