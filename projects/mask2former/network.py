"""Mask2Former behind its backbone (Cheng et al., CVPR 2022, arXiv:2112.01527).

Queries predict a class and a mask each, ten times: before the first layer and after each of nine.
In layer l a query attends only to the pixels of its last mask (equation 2):
    x_l = softmax(M_{l-1} + q k^T) v + x_{l-1},   M_{l-1} = 0 where the mask is, -inf elsewhere
and to all pixels where the mask is empty. Layers take turns with three resolutions.

A mask is a product of embedding and features, m = E F, and resizing and reading points are linear
for each channel. So the masks that attention needs are products with features that are resized
once for each resolution,
    resize(E F) = E resize(F)
and no mask is made at full resolution but those that somebody asks for (``MaskPredictions``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmattn.errors import ConfigError
from mmattn.layers.checks import require_at_least
from mmattn.layers.precision import run_in_float32
from mmattn.ops import autocast_off

from .pixel_decoder import PixelDecoder
from .positions import sine_positions
from .predictions import MaskPredictions
from .transformer_decoder import TransformerDecoder


class Mask2FormerNetwork(BaseModule):
    """Pixel decoder, transformer decoder and predictions; base class of the heads.

    Weights have the names of mmdet's ``Mask2FormerHead``, so that its checkpoints fit.

    Args:
        in_channels: Channels of the feature maps, from high to low resolution.
        num_classes: Number of classes K.
        num_queries: Number of queries Q, the most objects that can be found in an image.
        channels: Channels C of everything, a multiple of 4, 32 and ``num_heads``.
        num_heads: Heads of every attention.
        num_levels: Resolutions, the lowest ones, that attention works with.
        encoder_layers: Layers of deformable attention in the pixel decoder.
        encoder_ffn_channels: Hidden channels of their feed-forward layers.
        decoder_layers: Layers of the transformer decoder.
        decoder_ffn_channels: Hidden channels of their feed-forward layers.
        num_points: Points that a head of deformable attention reads of each level.
        recompute: Save memory in training by computing the pixel decoder's layers twice; see
            ``PixelDecoder``.
        init_cfg: mmengine's initialisation; by default the authors'.

    Raises:
        ConfigError: Channels or levels do not fit.
        ValueError: A number is below 1.

    Shape:
        - features: (B, in_channels[i], H_i, W_i)
        - output: ``MaskPredictions``
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        num_queries: int = 100,
        channels: int = 256,
        num_heads: int = 8,
        num_levels: int = 3,
        encoder_layers: int = 6,
        encoder_ffn_channels: int = 1024,
        decoder_layers: int = 9,
        decoder_ffn_channels: int = 2048,
        num_points: int = 4,
        recompute: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        require_at_least(
            1,
            num_classes=num_classes,
            num_queries=num_queries,
            channels=channels,
            num_heads=num_heads,
            num_levels=num_levels,
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers,
            num_points=num_points,
        )
        if channels % 32 or channels % num_heads:
            raise ConfigError(
                f"channels must be a multiple of 32 and of num_heads={num_heads}, got {channels}"
            )
        if len(in_channels) < num_levels:
            raise ConfigError(
                f"in_channels={list(in_channels)} has {len(in_channels)} feature maps, and "
                f"num_levels={num_levels} are mixed; give as many at least, or lower num_levels"
            )
        self.in_channels = list(in_channels)
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.num_levels = num_levels
        self.pixel_decoder = PixelDecoder(
            in_channels,
            channels,
            num_heads=num_heads,
            num_levels=num_levels,
            num_layers=encoder_layers,
            ffn_channels=encoder_ffn_channels,
            num_points=num_points,
            recompute=recompute,
        )
        self.transformer_decoder = TransformerDecoder(
            channels, num_heads, decoder_layers, decoder_ffn_channels
        )
        self.query_embed = nn.Embedding(num_queries, channels)
        self.query_feat = nn.Embedding(num_queries, channels)
        self.level_embed = nn.Embedding(num_levels, channels)
        self.cls_embed = nn.Linear(channels, num_classes + 1)
        self.mask_embed = nn.Sequential(
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
        )
        self._init_as_authors()

    def init_weights(self) -> None:
        """Initialise as ``init_cfg`` says, else as the authors: class and mask layers as torch."""
        if not self.init_cfg:
            self._init_as_authors()
        super().init_weights()

    def _init_as_authors(self) -> None:
        self.pixel_decoder.init_weights()
        self.transformer_decoder.init_weights()

    def predict_masks(self, features: Sequence[Tensor], *, every_layer: bool) -> MaskPredictions:
        """Run the network.

        Args:
            features: Feature maps of the backbone.
            every_layer: Whether the predictions of all layers are returned, for the loss, or those
                of the last alone.
        """
        if len(features) != len(self.in_channels):
            raise ValueError(
                f"{type(self).__name__} has {len(self.in_channels)} feature maps, "
                f"in_channels={self.in_channels}, got {len(features)}"
            )
        mask_features, memories, shapes = self.pixel_decoder(features)
        with torch.no_grad():
            resized = [
                F.interpolate(mask_features.detach(), shape, mode="bilinear", align_corners=False)
                for shape in shapes
            ]
        values = [
            memory + level for memory, level in zip(memories, self.level_embed.weight, strict=True)
        ]
        keys = [
            value + sine_positions(height, width, value.shape[2], value.device)
            for value, (height, width) in zip(values, shapes, strict=True)
        ]
        batch = mask_features.shape[0]  # len() would fix it in an exported graph
        # Copies: torch's FlopCounterMode takes views of weights for something to differentiate.
        query_positions = self.query_embed.weight.repeat(batch, 1, 1)
        x = self.query_feat.weight.repeat(batch, 1, 1)
        outputs, embeddings = [], []
        for index, layer in enumerate(self.transformer_decoder.layers):
            output = self.transformer_decoder.post_norm(x)
            embedding = self._mask_embeddings(output)
            outputs.append(output)
            embeddings.append(embedding)
            level = index % self.num_levels
            allowed = allowed_pixels(embedding, resized[level])
            x = layer(x, query_positions, keys[level], values[level], allowed)
        outputs.append(self.transformer_decoder.post_norm(x))
        embeddings.append(self._mask_embeddings(outputs[-1]))
        if not every_layer:
            outputs, embeddings = outputs[-1:], embeddings[-1:]
        return MaskPredictions(
            self.cls_embed(torch.stack(outputs)), torch.stack(embeddings), mask_features
        )

    def _mask_embeddings(self, outputs: Tensor) -> Tensor:
        """Return embeddings in float32: a product of 256 numbers overflows half precision."""
        return run_in_float32(self.mask_embed, outputs)


@torch.no_grad()
def allowed_pixels(embeddings: Tensor, features: Tensor) -> Tensor:
    """Return where queries may look: where their masks are, and everywhere if that is nowhere.

    A pixel is in a mask if its probability is 0.5 or more, that is, its logit not negative.

    Args:
        embeddings: (B, Q, C) of the masks.
        features: (B, C, h, w) at the resolution of the attention.

    Returns:
        (B, 1, Q, h w) bool, the same for every head
    """
    with autocast_off(features.device.type):
        allowed = embeddings @ features.flatten(2) >= 0
    return (allowed | ~allowed.any(dim=2, keepdim=True)).unsqueeze(1)
