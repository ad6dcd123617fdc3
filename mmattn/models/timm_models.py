"""Build timm's feature networks by name, with errors that say what is there instead."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mmattn.errors import ConfigError, did_you_mean, reason_of

# What makes networks with windows or position embeddings take images of any size; each family
# knows one of the two, the others need neither or are made for one size.
_ANY_SIZE = ({"strict_img_size": False}, {"dynamic_img_size": True, "dynamic_img_pad": True}, {})
# Python's words, and those of timm's networks that take any argument and check it themselves.
_UNKNOWN_ARGUMENT = re.compile(
    r"(\w+)\.__init__\(\) got (?:an )?unexpected keyword argument(?:\(s\):)? \[?'(\w+)'"
)


def build_features(
    name: str,
    *,
    out_indices: Sequence[int] | None = None,
    in_channels: int = 3,
    img_size: int | tuple[int, int] | None = None,
    **arguments: Any,
) -> nn.Module:
    """Build timm's ``create_model(name, features_only=True)`` without weights.

    Args:
        name: Architecture, with or without the tag of its weights (``resnet18.a1_in1k``).
        out_indices: Indices of the returned feature maps; timm's choice by default.
        in_channels: Channels of the images.
        img_size: Height and width, for networks that are made for one size.
        **arguments: Arguments of the network, such as ``drop_path_rate``.

    Raises:
        ConfigError: timm does not have the network, it does not return (those) feature maps, or an
            argument is unexpected.
    """
    import timm

    check_name(name)
    given: dict[str, Any] = {"num_classes": 0, **arguments}
    if out_indices is not None:
        given["out_indices"] = tuple(out_indices)
    if in_channels != 3:
        given["in_chans"] = in_channels
    if img_size is not None:
        given["img_size"] = img_size
    for any_size in _ANY_SIZE:
        try:
            return timm.create_model(name, features_only=True, **{**any_size, **given})
        except TypeError as error:
            unknown = _UNKNOWN_ARGUMENT.search(str(error))
            if unknown is None:
                raise _no_features(name, out_indices, error) from error
            if unknown[2] in any_size and unknown[2] not in given:
                continue
            raise ConfigError(
                f"unexpected argument {unknown[2]!r} for timm's {name}."
                f"{_nearest(name, *unknown.groups())}"
            ) from error
        except Exception as error:  # timm has no type of its own for what it cannot build
            raise _no_features(name, out_indices, error) from error
    raise AssertionError("the last of _ANY_SIZE adds nothing")


def check_name(name: str) -> None:
    """Refuse a name that timm does not know, or would have to ask a server for.

    Raises:
        ConfigError: The name is unknown; the message suggests the nearest.
    """
    import timm

    if not isinstance(name, str) or ":" in name:
        raise ConfigError(
            f"model_name={name!r}: expected the name of an architecture of timm. Nothing is "
            "downloaded here; give weights as a file with pretrained=…"
        )
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise ConfigError(
            f"timm {timm.__version__} has no model {architecture!r}."
            f"{did_you_mean(architecture, timm.list_models())}"
        )
    if tag:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        if tag not in tags:
            raise ConfigError(
                f"timm's {architecture} has no weights {tag!r}.{did_you_mean(tag, tags)} "
                f"It has {', '.join(tags) or 'none'}."
            )


def _no_features(name: str, out_indices: Sequence[int] | None, error: Exception) -> ConfigError:
    """Explain why a network does not return the maps: wrong indices, or it returns none."""
    import timm

    if out_indices is not None:
        try:
            with torch.device("meta"):
                info = timm.create_model(name, features_only=True).feature_info.info
        except Exception:  # then the indices are not what is wrong
            pass
        else:
            return ConfigError(
                f"out_indices={tuple(out_indices)}: timm's {name} has {len(info)} maps, of strides "
                f"{[feature['reduction'] for feature in info]}; indices are 0 to {len(info) - 1}."
            )
    return ConfigError(f"timm's {name} cannot be built for its feature maps: {reason_of(error)}")


def _nearest(name: str, class_name: str, key: str) -> str:
    import timm

    home = sys.modules[timm.model_entrypoint(name.partition(".")[0]).__module__]
    cls = getattr(home, class_name, None)
    return did_you_mean(key, inspect.signature(cls).parameters) if cls is not None else ""


def normalisation(name: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of timm's input for ``name``, as RGB in 0 to 255.

    Raises:
        ConfigError: There is no such network.
    """
    from timm.models import get_pretrained_cfg

    check_name(name)
    cfg = get_pretrained_cfg(name)
    if cfg is None:
        return [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    return tuple([round(255 * value, 3) for value in values] for values in (cfg.mean, cfg.std))
