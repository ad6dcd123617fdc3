"""Weights of transformers' Mask2Former under our names, and a network of theirs with noise."""

from __future__ import annotations

import re
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.utils._device import DeviceContext

from mmattn.registry import MODELS

_PIXEL = "model.pixel_level_module.decoder."
_QUERY = "model.transformer_module."
_NAMES = [
    (rf"{_PIXEL}input_projections\.(\d)\.0", r"pixel_decoder.input_convs.\1.conv"),
    (rf"{_PIXEL}input_projections\.(\d)\.1", r"pixel_decoder.input_convs.\1.gn"),
    (rf"{_PIXEL}level_embed", "pixel_decoder.level_encoding.weight"),
    (rf"{_PIXEL}adapter_1\.0", "pixel_decoder.lateral_convs.0.conv"),
    (rf"{_PIXEL}adapter_1\.1", "pixel_decoder.lateral_convs.0.gn"),
    (rf"{_PIXEL}layer_1\.0", "pixel_decoder.output_convs.0.conv"),
    (rf"{_PIXEL}layer_1\.1", "pixel_decoder.output_convs.0.gn"),
    (rf"{_PIXEL}mask_projection", "pixel_decoder.mask_feature"),
    (rf"{_PIXEL}(encoder\.layers\.\d)\.self_attn_layer_norm", r"pixel_decoder.\1.norms.0"),
    (rf"{_PIXEL}(encoder\.layers\.\d)\.final_layer_norm", r"pixel_decoder.\1.norms.1"),
    (rf"{_PIXEL}(encoder\.layers\.\d)\.fc1", r"pixel_decoder.\1.ffn.layers.0.0"),
    (rf"{_PIXEL}(encoder\.layers\.\d)\.fc2", r"pixel_decoder.\1.ffn.layers.1"),
    (rf"{_PIXEL}(encoder\.layers\.\d\.self_attn)", r"pixel_decoder.\1"),
    (rf"{_QUERY}queries_embedder", "query_embed"),
    (rf"{_QUERY}queries_features", "query_feat"),
    (rf"{_QUERY}level_embed", "level_embed"),
    (rf"{_QUERY}decoder\.layernorm", "transformer_decoder.post_norm"),
    (rf"{_QUERY}decoder\.mask_predictor\.mask_embedder\.0\.0", "mask_embed.0"),
    (rf"{_QUERY}decoder\.mask_predictor\.mask_embedder\.1\.0", "mask_embed.2"),
    (rf"{_QUERY}decoder\.mask_predictor\.mask_embedder\.2\.0", "mask_embed.4"),
    (rf"{_QUERY}decoder\.(layers\.\d)\.cross_attn_layer_norm", r"transformer_decoder.\1.norms.0"),
    (rf"{_QUERY}decoder\.(layers\.\d)\.self_attn_layer_norm", r"transformer_decoder.\1.norms.1"),
    (rf"{_QUERY}decoder\.(layers\.\d)\.final_layer_norm", r"transformer_decoder.\1.norms.2"),
    (rf"{_QUERY}decoder\.(layers\.\d)\.fc1", r"transformer_decoder.\1.ffn.layers.0.0"),
    (rf"{_QUERY}decoder\.(layers\.\d)\.fc2", r"transformer_decoder.\1.ffn.layers.1"),
    (rf"{_QUERY}decoder\.(layers\.\d)\.(cross|self)_attn", r"transformer_decoder.\1.\2_attn.attn"),
    ("class_predictor", "cls_embed"),
]


def our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a whole state dict but for the backbone's part; every other name must be known."""
    found: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.startswith(("model.pixel_level_module.encoder.", "criterion.")):
            continue
        for pattern, name in _NAMES:
            renamed, count = re.subn(f"^{pattern}", name, key)
            if count:
                found[renamed] = tensor
                break
        else:
            raise AssertionError(f"no name for {key}")
    for key in [key for key in found if ".q_proj." in key]:
        parts = [found.pop(key.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        found[key.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    return found


def add_noise(model: nn.Module, scale: float = 0.02) -> None:
    """Move every parameter a little: fresh biases of 0 and scales of 1 would hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)


def swin_tiny(num_classes: int, num_queries: int = 100, **changes: Any) -> Any:
    """Build transformers' network with a Swin-T and random weights, in evaluation mode."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    config = Mask2FormerConfig(num_labels=num_classes, num_queries=num_queries, **changes)
    torch.manual_seed(0)
    model = Mask2FormerForUniversalSegmentation(config).eval()
    add_noise(model)
    return model


class _MetaWeights(DeviceContext):
    """Weights without memory; Swin asks numbers of ``linspace``, which there are none of."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.linspace:
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)


def build_on_meta(cfg: Any) -> nn.Module:
    """Build the model of a config without memory for its weights."""
    scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
    with scope, _MetaWeights(torch.device("meta")):
        return MODELS.build(cfg.model)
