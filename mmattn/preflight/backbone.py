"""What a backbone knows and the rest of a config has to agree with: normalisation and channels.

``mmattn.TimmBackbone`` knows how timm normalises its images, which goes into a preprocessor that
leaves it open. It and ``mmattn.WithPlugins`` know how many channels their maps have, which necks
and heads have to be told by hand in a config: a wrong number is found before the first step.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError
from mmattn.type_names import scope_and_name

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger("mmattn")
_PREPROCESSORS = {"DetDataPreprocessor", "SegDataPreProcessor", "ImgDataPreprocessor"}
#: Keys of a model's config under which another model's, or another preprocessor's, stands.
_MODEL_INSIDE = ("module", "detector")


def fill_normalization(
    model: MutableMapping[str, Any],
    scope: str | None,
    preprocessor: MutableMapping[str, Any] | None = None,
) -> None:
    """Write the normalisation that a TimmBackbone asks for into its model's preprocessor.

    A preprocessor with values of its own keeps them; where they are other ones, a warning names
    both.

    Args:
        model: The config of a model; its ``data_preprocessor`` is changed in place.
        scope: The config's ``default_scope``.
        preprocessor: The config's top-level ``data_preprocessor``, which mmengine hands to a model
            that has none.
    """
    for key in _MODEL_INSIDE:
        if isinstance(model.get(key), MutableMapping):
            fill_normalization(model[key], scope, model.get("data_preprocessor") or preprocessor)
    names = set(_timm_names(model.get("backbone"), scope))
    target = model.get("data_preprocessor") or preprocessor
    if isinstance(target, MutableMapping) and isinstance(
        target.get("data_preprocessor"), MutableMapping
    ):
        target = target["data_preprocessor"]  # that of MultiBranchDataPreprocessor
    if not names or not isinstance(target, MutableMapping):
        return
    if scope_and_name(target.get("type"), scope)[1] not in _PREPROCESSORS:
        return
    from mmattn.models.timm_models import normalisation

    for name in sorted(names):
        mean, std = normalisation(name)
        _fill(target, name, {"mean": mean, "std": std})


def _fill(target: MutableMapping[str, Any], name: str, wanted: Mapping[str, list[float]]) -> None:
    differing = [
        f"{key}={[round(v, 3) for v in target[key]]} where timm's {name} was trained with {values}"
        for key, values in wanted.items()
        if target.get(key) is not None and not _close(target[key], values)
    ]
    if target.get("mean") is not None and not target.get("bgr_to_rgb"):
        differing.append(f"bgr_to_rgb is off, but timm's {name} takes RGB")
    if differing:
        logger.warning(
            "data_preprocessor: %s. Leave mean, std and bgr_to_rgb out to have timm's.",
            "; ".join(differing),
        )
    if target.get("mean") is None:
        if target.get("rgb_to_bgr"):
            logger.warning("data_preprocessor: rgb_to_bgr is on, but timm's %s takes RGB.", name)
        else:
            target.setdefault("bgr_to_rgb", True)
    for key, values in wanted.items():
        if target.get(key) is None:
            target[key] = values


def _close(given: Any, wanted: Sequence[float]) -> bool:
    # Half a grey level: configs round these numbers.
    return len(given) == len(wanted) and all(
        math.isclose(a, b, abs_tol=0.5) for a, b in zip(given, wanted, strict=True)
    )


def _timm_names(backbone: Any, scope: str | None) -> Iterator[str]:
    """``model_name`` of the TimmBackbone that ``backbone`` is or contains."""
    if isinstance(backbone, Mapping):
        if scope_and_name(backbone.get("type"), scope) == ("mmattn", "TimmBackbone"):
            yield backbone.get("model_name")
        else:
            yield from _timm_names(backbone.get("inner"), scope)


def check_channels(model: nn.Module, filename: str | None = None) -> None:
    """Compare the channels that neck and heads expect with those of the backbone's maps.

    Only for backbones that tell: TimmBackbone, and any one inside WithPlugins.

    Args:
        model: A detector or segmentor, also in a wrapper.
        filename: Of the config, for the message.

    Raises:
        ConfigError: They differ; the message has the right list.
    """
    while not hasattr(model, "backbone") and hasattr(model, "module"):
        model = model.module
    channels = _returned_channels(getattr(model, "backbone", None))
    if channels is None:
        return
    where = f"{filename}: " if filename else ""
    kind = type(model.backbone).__name__
    neck = getattr(model, "neck", None)
    if neck is not None:
        expected = getattr(neck, "in_channels", None)
        # Necks of the YOLO family list theirs from the smallest map.
        if isinstance(expected, (list, tuple)) and list(expected) not in (
            channels,
            channels[::-1],
        ):
            raise ConfigError(
                f"{where}model.neck.in_channels={list(expected)}, but the backbone, {kind}, "
                f"returns maps of {channels} channels. Write in_channels={channels} there, or "
                "choose other maps with the backbone's out_indices."
            )
        return
    for name in ("decode_head", "auxiliary_head"):
        heads = getattr(model, name, None)
        for head in heads if isinstance(heads, Sequence) or hasattr(heads, "__len__") else [heads]:
            _check_head(head, f"{where}model.{name}", channels, kind)


def _check_head(head: Any, where: str, channels: list[int], kind: str) -> None:
    """One head of mmseg's kind: it picks maps by ``in_index``."""
    index, expected = getattr(head, "in_index", None), getattr(head, "in_channels", None)
    if index is None or expected is None:
        return
    indices = list(index) if isinstance(index, (list, tuple)) else [index]
    count = len(channels)
    if not all(-count <= one < count for one in indices):
        raise ConfigError(
            f"{where}.in_index={index}, but the backbone, {kind}, returns {count} maps."
        )
    found: Any = [channels[one] for one in indices]
    if not isinstance(index, (list, tuple)):
        found = found[0]
    elif getattr(head, "input_transform", None) == "resize_concat":
        found = sum(found)
    if (list(expected) if isinstance(expected, (list, tuple)) else expected) != found:
        raise ConfigError(
            f"{where}.in_channels={expected} with in_index={index}, but the backbone, {kind}, "
            f"returns maps of {channels} channels: {found} for these indices."
        )


def _returned_channels(backbone: Any) -> list[int] | None:
    told = getattr(getattr(backbone, "plugins", None), "out_channels", None)
    if told is None and getattr(backbone, "timm_model", None) is not None:
        told = getattr(backbone, "out_channels", None)
    return list(told) if isinstance(told, (list, tuple)) else None
