"""Networks that a block has to fit into, each as small as possible, with the block inserted.

slot        plugins= of a ResNet-18: two blocks at one position, in every residual block
stages, at  mmattn.WithPlugins: after returned feature maps, and after submodules by pattern
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def _slot(library: str) -> Callable[[dict | None, int], nn.Module]:
    def make(cfg: dict | None, channels: int) -> nn.Module:
        plugins = [
            {"cfg": {**cfg, "postfix": name}, "position": "after_conv2"}
            for name in ("", "_b")
            if cfg is not None
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


def _with_plugins(
    inner: Callable[[int], dict], **where: Any
) -> Callable[[dict | None, int], nn.Module]:
    def make(cfg: dict | None, channels: int) -> nn.Module:
        entries = [{"cfg": cfg, key: value} for key, value in where.items() if cfg is not None]
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


HOSTS: dict[str, Callable[[dict | None, int], nn.Module]] = {
    "mmdet_resnet18_slot": _slot("mmdet"),
    "mmseg_resnet18_slot": _slot("mmseg"),
    # Tokens (at=) and feature maps (stages=).
    "mmdet_swin": _with_plugins(_swin, at="stages.0.blocks.*", stages=(False, True)),
    "timm_convnext": _with_plugins(_timm, at="timm_model.stages_1.blocks.0", stages=(0, 3)),
    "mmdet_fpn": _with_plugins(_fpn, at="lateral_convs.0", stages=(True, True)),
    "mmseg_head": _with_plugins(_head, at="convs.*"),
}


#: Outputs of the networks without blocks, by name and width: they are the same for every block.
_plain: dict[tuple[str, int], tuple[dict[str, Tensor], list[Tensor]]] = {}


def build_host(name: str, cfg: dict | None, channels: int) -> nn.Module:
    """Build a network with blocks inserted, in training mode.

    Args:
        name: Name of the network in ``HOSTS``.
        cfg: Config of the block; None for the network alone.
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


def load_plain_host(host: nn.Module, name: str, channels: int, blocks: Iterable[str]) -> None:
    """Load weights of the network called ``name`` without blocks into ``host``, which has blocks.

    Args:
        host: Network that ``build_host`` returned for the same name and channels.
        name: Name of the network in ``HOSTS``.
        channels: Width of the network.
        blocks: Names of the blocks in ``host``.

    Raises:
        AssertionError: The network's weights have other names than without blocks.
    """
    state, _ = _plain_host(name, channels)
    missing, unexpected = host.load_state_dict(state, strict=False)
    assert not unexpected, f"the network has no longer {unexpected}"
    starts = tuple(f"{block}." for block in blocks)
    others = [key for key in missing if not key.startswith(starts)]
    assert not others, f"not of the blocks, nor of the network without blocks: {others}"


def plain_outputs(name: str, channels: int) -> list[Tensor]:
    """Return what the network called ``name`` returns without blocks, in eval mode."""
    return _plain_host(name, channels)[1]


def _plain_host(name: str, channels: int) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return weights of the network without blocks, and its outputs in eval mode."""
    if (name, channels) not in _plain:
        host = build_host(name, None, channels)
        # Of trained networks no weight is zero; a residual that is hides what is added to it.
        for parameter in host.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        state = copy.deepcopy(host.state_dict())
        host.eval()
        with torch.no_grad():
            _plain[name, channels] = (state, outputs_of(host, host_input(name, channels)))
    return _plain[name, channels]


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
