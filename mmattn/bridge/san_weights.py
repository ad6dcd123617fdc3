"""Lets mmseg's SAN start where the weights of CLIP are not fetched.

SAN (Xu et al., "Side Adapter Network for Open-Vocabulary Semantic Segmentation", CVPR 2023) is
written to start from CLIP. Without ``pretrained`` the part of its head that goes on CLIP's layers
asks ``nn.Module`` for an ``init_weights``, which raises an AttributeError, and the text encoder
keeps two parameters of uninitialised memory. The weights of SAN's own are unaffected.
"""

from __future__ import annotations

import functools
from types import ModuleType

from torch import nn


def patch_san_head(san_head: ModuleType) -> None:
    """Have ``RecWithAttnbias`` of ``mmseg.models.decode_heads.san_head`` start without CLIP, once.

    Its weights stay as its constructor drew them.
    """
    original = san_head.RecWithAttnbias.init_weights
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def init_weights(self, rec_state_dict=None) -> None:
        if rec_state_dict is not None:
            original(self, rec_state_dict)

    san_head.RecWithAttnbias.init_weights = init_weights


def patch_text_encoder(clip_text_encoder: ModuleType) -> None:
    """Have ``CLIPTextEncoder`` of ``mmseg.models.text_encoder`` draw all of its weights, once.

    The deviations are those that CLIP starts from (Radford et al., 2021): 0.01 for positions, and
    the inverse square root of the width for the projection. Weights of CLIP replace them.
    """
    original = clip_text_encoder.CLIPTextEncoder.init_weights
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def init_weights(self) -> None:
        width = self.text_projection.shape[0]
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)
        original(self)

    clip_text_encoder.CLIPTextEncoder.init_weights = init_weights
