"""How a config's test pipeline resizes images, which an exported file leaves to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmattn.config.walk import innermost_dataset
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.config import Config


def find_test_resize(cfg: Config) -> dict[str, Any] | None:
    """Return the arguments of the step that resizes images in the config's test pipeline.

    Returns:
        For ``Resize`` its ``scale`` ([width, height], as mmcv has it; or ``scale_factor``) and
        ``keep_ratio``; for another step, such as ``ResizeShortestEdge``, its ``type`` and
        arguments; None where nothing is resized.
    """
    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader")
    steps = innermost_dataset(loader["dataset"]).get("pipeline") if loader else None
    for step in steps or ():
        name = bare_name(step.get("type")) or ""
        if name == "Resize":
            return _resize(step)
        if "Resize" in name or name == "RandomChoiceResize":
            return {"type": name, **{key: _plain(step[key]) for key in step if key != "type"}}
    return None


def describe_resize(resize: Mapping[str, Any]) -> str:
    """Return the end of the sentence "resize images ...", for what ``find_test_resize`` found."""
    scale = resize.get("scale")
    if "type" in resize or not isinstance(scale, list):
        given = {key: value for key, value in resize.items() if key != "type"}
        words = ", ".join(f"{key}={value}" for key, value in given.items())
        return f"as {resize.get('type', 'Resize')}({words}) does"
    if resize["keep_ratio"]:
        return (
            f"to fit {max(scale)} (longer side) x {min(scale)} (shorter side), keeping their ratio,"
        )
    return f"to {scale[1]} x {scale[0]} (height x width)"


def _resize(step: Mapping[str, Any]) -> dict[str, Any]:
    if step.get("scale") is None and step.get("scale_factor") is not None:
        size = {"scale_factor": _plain(step["scale_factor"])}
    else:
        scale = _plain(step.get("scale"))
        size = {"scale": [scale, scale] if isinstance(scale, int) else scale}
    return {**size, "keep_ratio": bool(step.get("keep_ratio", False))}


def _plain(value: Any) -> Any:
    """Return lists for tuples, as JSON has them."""
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
