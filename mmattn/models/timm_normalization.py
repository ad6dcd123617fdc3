"""The normalisation that ``mmattn.TimmBackbone`` asks for, in the preprocessor of its model."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from mmattn.type_names import scope_and_name

logger = logging.getLogger("mmattn")
_PREPROCESSORS = {"DetDataPreprocessor", "SegDataPreProcessor", "ImgDataPreprocessor"}
#: Keys of a model's config under which another model's stands.
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
    from .timm_models import normalisation

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
