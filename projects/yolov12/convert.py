"""Published YOLOv12 checkpoints for ``YOLOv12Backbone``, ``YOLOv12Neck`` and ``YOLOv12Head``.

The files of both publishers are pickles of a network, ``model.<layer>.<module>``; conversion reads
their weights (``mmattn.io.inert_modules``), in half precision or with the norms folded, and the
class names. Which network they are of is read from the shapes: scale, version, width of the
feed-forward networks. Their 16 constants of a distance's bins are no weights here.

Back, the names are theirs, without a network around them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys

from .scales import SCALES, VERSIONS

_NAME = "yolov12-official"
# In every network of theirs with area attention in layer 6, and in no other family's.
_MARK = "6.m.0.0.attn.pe.conv.weight"
_BINS = "21.dfl.conv.weight"
_EPS = 1e-3
_CONVS = {
    "0": "backbone.stem",
    "1": "backbone.stage2.0",
    "3": "backbone.stage3.0",
    "5": "backbone.stage4.0",
    "7": "backbone.stage5.0",
    "15": "neck.down3",
    "18": "neck.down4",
}
_ELANS = {"2": "backbone.stage2.1", "4": "backbone.stage3.1", "20": "neck.bottom_up5"}
_ATTENDING = {"6": "backbone.stage4.1", "8": "backbone.stage5.1"}
_NOT_ATTENDING = {"11": "neck.top_down4", "14": "neck.top_down3", "17": "neck.bottom_up4"}
_LONGEST_CHAIN = 4
_LEVELS = 3


def _conv(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.conv", f"{ours}.conv"
    yield f"{theirs}.bn", f"{ours}.bn"


def _bottleneck(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for number in "12":
        yield from _conv(f"{theirs}.cv{number}", f"{ours}.conv{number}")


def _c3k(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for name, own in (("cv1", "reduce"), ("cv2", "bypass"), ("cv3", "merge")):
        yield from _conv(f"{theirs}.{name}", f"{ours}.{own}")
    for number in range(2):
        yield from _bottleneck(f"{theirs}.m.{number}", f"{ours}.bottlenecks.{number}")


def _attention(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for block in range(2):
        for name in ("qk", "v", "qkv", "pe", "proj"):
            yield from _conv(f"{theirs}.{block}.attn.{name}", f"{ours}.{block}.attention.{name}")
        for number in range(2):
            yield from _conv(f"{theirs}.{block}.mlp.{number}", f"{ours}.{block}.mlp.{number}")


def _detect(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for level in range(_LEVELS):
        for part in ("0", "1"):
            boxes, classes = f"cv2.{level}.{part}", f"cv3.{level}.{part}"
            yield from _conv(f"{theirs}.{boxes}", f"{ours}.box_branches.{level}.{part}")
            for step in "01":
                own = f"{ours}.class_branches.{level}.{part}.{step}"
                yield from _conv(f"{theirs}.{classes}.{step}", own)
        yield f"{theirs}.cv2.{level}.2", f"{ours}.box_branches.{level}.2"
        yield f"{theirs}.cv3.{level}.2", f"{ours}.class_branches.{level}.2"


def _modules(c3k: bool) -> dict[str, str]:
    """Return their names of all modules with weights, and ours.

    Args:
        c3k: Whether the units of the first two stages are C3k, as at scales m, l and x.
    """
    names: dict[str, str] = {}
    for layer, place in _CONVS.items():
        names.update(_conv(layer, place))
    for layers, first in ((_ELANS, "split"), (_ATTENDING | _NOT_ATTENDING, "reduce")):
        for layer, place in layers.items():
            names.update(_conv(f"{layer}.cv1", f"{place}.{first}"))
            names.update(_conv(f"{layer}.cv2", f"{place}.merge"))
            if layer in _ATTENDING:
                names[layer], unit = place, _attention  # its own gamma
            else:
                unit = _c3k if c3k or layer in {"20", *_NOT_ATTENDING} else _bottleneck
            for number in range(_LONGEST_CHAIN):
                names.update(unit(f"{layer}.m.{number}", f"{place}.units.{number}"))
    names.update(_detect("21", "bbox_head"))
    return names


def _renamed(state_dict: StateDict, modules: Mapping[str, str]) -> StateDict:
    def rename(key: str) -> str | None:
        module, _, entry = key.rpartition(".")
        return f"{modules[module]}.{entry}" if module in modules else None

    return rename_keys(state_dict, rename)


def _prefix_of(state_dict: Mapping[str, Tensor]) -> str | None:
    """Return what is before the layers' numbers, or None if this is no YOLOv12."""
    for prefix in ("model.", "", "model.model."):
        if prefix + _MARK in state_dict and f"{prefix}0.conv.weight" in state_dict:
            return prefix
    return None


def _recognises(state_dict: Mapping[str, Tensor]) -> bool:
    return _prefix_of(state_dict) is not None


def _convert(state_dict: StateDict) -> StateDict:
    """Convert a detector.

    Raises:
        CheckpointError: It segments or classifies, its bins are not 0, 1, ..., or a key is unknown.
    """
    prefix = _prefix_of(state_dict)
    assert prefix is not None, "convert is called with what was recognised"
    outside = [key for key in state_dict if not key.startswith(prefix)]
    if outside:
        raise CheckpointError(f"{len(outside)} keys are not of this layout: {outside[0]}, ...")
    layers = {key.removeprefix(prefix): value for key, value in state_dict.items()}
    _require_detector(layers)
    bins = layers.pop(_BINS, None)
    if bins is not None and not torch.equal(
        bins.flatten().float(), torch.arange(bins.numel()) + 0.0
    ):
        raise CheckpointError(
            f"{prefix}{_BINS} is not 0, 1, ... {bins.numel() - 1}: distances are means of these "
            "bins here, so the network would predict other boxes"
        )
    layers = {
        key: value.float() if value.is_floating_point() else value
        for key, value in _with_norms(layers).items()
    }
    return _renamed(layers, _modules("2.m.0.cv3.conv.weight" in layers))


def _require_detector(layers: Mapping[str, Tensor]) -> None:
    if any(key.startswith(("21.proto.", "21.cv4.")) for key in layers):
        raise CheckpointError(
            "this YOLOv12 segments instances (its layer 21 has prototypes of masks): mmattn has no "
            "head for that, only detectors are converted"
        )
    if any(key.startswith("9.linear.") for key in layers):
        raise CheckpointError(
            "this YOLOv12 classifies images (its layer 9 is a classifier): mmattn has no head for "
            "that, only detectors are converted"
        )


def _with_norms(layers: StateDict) -> StateDict:
    """Give convolutions with which norms were fused new norms: theirs add the bias alone."""
    changed: StateDict = {}
    for key, value in layers.items():
        module = key.removesuffix(".conv.bias")
        if module == key or f"{module}.bn.weight" in layers:
            changed[key] = value
            continue
        bias = value.float()
        changed[f"{module}.bn.weight"] = torch.ones_like(bias)
        changed[f"{module}.bn.bias"] = bias
        changed[f"{module}.bn.running_mean"] = torch.zeros_like(bias)
        changed[f"{module}.bn.running_var"] = torch.full_like(bias, 1 - _EPS)
        changed[f"{module}.bn.num_batches_tracked"] = torch.tensor(0)
    return changed


def _convert_back(state_dict: StateDict) -> StateDict:
    c3k = "backbone.stage2.1.units.0.merge.conv.weight" in state_dict
    back = {ours: theirs for theirs, ours in _modules(c3k).items()}
    layers = _renamed(state_dict, back)
    boxes = layers.get("21.cv2.0.2.weight")
    if boxes is not None:
        layers[_BINS] = torch.arange(len(boxes) // 4, dtype=boxes.dtype).view(1, -1, 1, 1)
    return {f"model.{key}": value for key, value in layers.items()}


def _note(state_dict: StateDict) -> str:
    return (
        f"{_network_of(_convert(state_dict))} The file's distance bins (dfl) are constants here. "
        "The weights keep the licence of their source, which is AGPL-3.0 where "
        "sunsmarterjie/yolov12 or ultralytics published them; mmattn's own does not cover them."
    )


def _network_of(weights: StateDict) -> str:
    """Say which config has this network, and what is to be set in it."""
    stem = len(weights["backbone.stem.conv.weight"])
    units = sum(key.startswith("backbone.stage4.1.units.") for key in weights if _is_first_q(key))
    last = len(weights["backbone.stage5.1.merge.conv.weight"])
    attention = "backbone.stage4.1.units.0.0.attention"
    version = "turbo" if f"{attention}.qk.conv.weight" in weights else "v1.0"
    classes = len(weights["bbox_head.class_branches.0.2.weight"])
    fitting = [
        name
        for name, scale in SCALES.items()
        if (scale.channels(64), scale.length(4), scale.channels(1024)) == (stem, units, last)
    ]
    if not fitting:
        return f"A YOLOv12 ({version}) of none of the published sizes, with {classes} classes."
    scale = SCALES[fitting[0]]
    hidden, channels = weights["backbone.stage4.1.units.0.0.mlp.0.conv.weight"].shape[:2]
    usual = VERSIONS[version].mlp_ratio if scale.large else 2.0
    settings = []
    if hidden != int(channels * usual):
        settings.append(f"model.backbone.mlp_ratio={hidden / channels:g}")
    has_residual = "backbone.stage4.1.gamma" in weights
    if has_residual != (scale.residual_scale is not None):
        settings.append(f"model.backbone.residual_scale={0.01 if has_residual else None}")
    if classes != 80:
        settings.append(f"model.bbox_head.num_classes={classes}")
    name = f"yolov12-{'' if version == 'turbo' else 'v1-'}{fitting[0]}_8xb32-600e_coco"
    text = f"The network of configs/yolov12/{name}.py"
    return text + (f" with {' '.join(settings)}." if settings else ".")


def _is_first_q(key: str) -> bool:
    return key.endswith((".0.attention.qk.conv.weight", ".0.attention.qkv.conv.weight"))


def _metadata(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class names, which a network of theirs has by number."""
    names = attributes.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return {}
    return {"dataset_meta": {"classes": names}}


register_converter(
    Converter(
        name=_NAME,
        description="sunsmarterjie/yolov12 and ultralytics' yolo12, detectors -> mmattn YOLOv12",
        recognises=_recognises,
        convert=_convert,
        reverse=_convert_back,
        note=_note,
        metadata=_metadata,
    )
)
