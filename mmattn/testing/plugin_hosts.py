"""Networks that a block has to fit into, each as small as possible, with the block inserted.

slot        plugins= of a ResNet-18: two blocks at one position, in every residual block
stages, at  mmattn.WithPlugins: after returned feature maps, and after submodules by pattern
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def _slot(library: str) -> Callable[[dict, int], nn.Module]:
    def make(cfg: dict, channels: int) -> nn.Module:
        plugins = [
            {"cfg": {**cfg, "postfix": name}, "position": "after_conv2"} for name in ("", "_b")
        ]
        return _build(
            {
                "type": f"{library}.ResNet",
                "depth": 18,
                "base_channels": channels,
                "stem_channels": channels,
                "norm_eval": False,
                "num_stages": 1,
                "strides": (1,),
                "dilations": (1,),
                "out_indices": (0,),
                "plugins": plugins,
            }
        )

    return make


def _with_plugins(inner: Callable[[int], dict], **where: Any) -> Callable[[dict, int], nn.Module]:
    def make(cfg: dict, channels: int) -> nn.Module:
        entries = [{"cfg": cfg, key: value} for key, value in where.items()]
        return _build({"type": "mmattn.WithPlugins", "inner": inner(channels), "plugins": entries})

    return make


def _swin(channels: int) -> dict:
    return {
        "type": "mmdet.SwinTransformer",
        "embed_dims": channels,
        "depths": (1, 1),
        "num_heads": (1, 1),
        "strides": (4, 2),
        "out_indices": (0, 1),
        "window_size": 4,
    }


def _timm(channels: int) -> dict:
    return {
        "type": "mmattn.TimmBackbone",
        "model_name": "convnext_atto",
        "depths": (1, 1, 1, 1),
        "dims": (channels, 2 * channels, channels, channels),
    }


def _fpn(channels: int) -> dict:
    return {
        "type": "mmdet.FPN",
        "in_channels": [channels, 2 * channels],
        "out_channels": channels,
        "num_outs": 2,
    }


def _head(channels: int) -> dict:
    return {
        "type": "mmseg.FCNHead",
        "in_channels": channels,
        "channels": channels,
        "num_classes": 2,
    }


HOSTS: dict[str, Callable[[dict, int], nn.Module]] = {
    "mmdet_resnet18_slot": _slot("mmdet"),
    "mmseg_resnet18_slot": _slot("mmseg"),
    # Tokens (at=) and feature maps (stages=).
    "mmdet_swin": _with_plugins(_swin, at="stages.0.blocks.*", stages=(False, True)),
    "timm_convnext": _with_plugins(_timm, at="timm_model.stages_1.blocks.0", stages=(0, 3)),
    "mmdet_fpn": _with_plugins(_fpn, at="lateral_convs.0", stages=(True, True)),
    "mmseg_head": _with_plugins(_head, at="convs.*"),
}


def build_host(name: str, cfg: dict, channels: int) -> nn.Module:
    """Build a network with blocks inserted, in training mode.

    Args:
        name: Name of the network in ``HOSTS``.
        cfg: Config of the block.
        channels: Width of the network at some of the blocks; at the others it is up to twice that.
    """
    torch.manual_seed(0)
    host = HOSTS[name](cfg, channels)
    host.train()  # train() of mmdet's and mmseg's ResNet returns None
    return host


def host_input(name: str, channels: int) -> Tensor | list[Tensor]:
    """Return an input of the network called ``name``: a batch of two images or feature maps."""
    generator = torch.Generator().manual_seed(1)
    if name == "mmdet_fpn":
        shapes = [(2, channels, 16, 16), (2, 2 * channels, 8, 8)]
    elif name == "mmseg_head":
        shapes = [(2, channels, 8, 8)]
    else:
        return torch.randn(2, 3, 64, 64, generator=generator)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def outputs_of(host: nn.Module, inputs: Tensor | list[Tensor]) -> list[Tensor]:
    """Return all outputs of ``host`` as a list."""
    outputs = host(inputs)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def record_calls(blocks: Mapping[str, nn.Module]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return a dictionary that is filled with input and output of the last call of each block."""
    calls: dict[str, tuple[Tensor, Tensor]] = {}

    def recorder(name: str) -> Callable[..., None]:
        def record(block: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            calls[name] = (args[0], output)

        return record

    for name, block in blocks.items():
        block.register_forward_hook(recorder(name))
    return calls


def _build(cfg: dict) -> nn.Module:
    from mmattn.registry import MODELS

    return MODELS.build(cfg)
