"""Upgrade pipelines: steps that went into the model, new names and arguments, packing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .notes import Notes

#: Old names of the fields of a sample's metainfo; None for those that are gone.
_META = {"filename": "img_path", "ori_filename": None, "img_norm_cfg": None}
_TEST_META = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
#: Steps that packing does now.
_PACKING = ("DefaultFormatBundle", "DefaultFormatBundle3D", "ImageToTensor", "ToTensor", "Collect")
#: Old arguments -> new ones, where the values stay.
_RENAMED = {
    "RandomFlip": {"flip_ratio": "prob"},
    "Resize": {"img_scale": "scale", "bbox_clip_border": "clip_object_border"},
    "RandomCrop": {"bbox_clip_border": "bbox_clip_border"},
    "RandomCutOut": {"prob": "prob"},
}
#: Steps that do something else now, or are gone.
_GONE = {
    "Rotate": "Rotate has other arguments now (level, min_mag, max_mag)",
    "Shear": "the transform is ShearX and ShearY now",
    "Translate": "the transform is TranslateX and TranslateY now",
    "LoadProposals": "proposals are fields of the dataset now",
    "RGB2Gray": "its arguments have changed",
}


@dataclass
class Preprocessing:
    """Steps of old pipelines that are the model's data preprocessor's now.

    Attributes:
        settings: Arguments of the data preprocessor.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    def set(self, key: str, value: Any, where: str, notes: Notes) -> None:
        """Take a setting over; the first one holds for all pipelines."""
        if key not in self.settings:
            self.settings[key] = value
        elif self.settings[key] != value:
            notes.untranslated(
                where, value, f"the model has one {key} for all pipelines: {self.settings[key]}"
            )


class PipelineUpgrade:
    """Upgrades the pipelines of one config.

    Args:
        scope: ``mmdet`` or ``mmseg``.
        with_mask: Whether the model predicts masks of instances.
        notes: Receives what could not be translated.
    """

    def __init__(self, scope: str, with_mask: bool, notes: Notes) -> None:
        self.scope = scope
        self.with_mask = with_mask
        self.notes = notes
        self.preprocessing = Preprocessing()

    def upgrade(self, steps: Sequence[Any], where: str, *, test: bool) -> list[dict[str, Any]]:
        """Return the steps of today's pipeline.

        Args:
            steps: Steps of the old one.
            where: Its key.
            test: Whether it prepares images for validation and test.
        """
        done: list[dict[str, Any]] = []
        for index, step in enumerate(steps):
            done += self._step(dict(step), f"{where}[{index}]", test)
        return self._with_truth(done) if test else done

    def _step(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        name = step.get("type")
        special: dict[str, Callable[..., list[dict[str, Any]]]] = {
            "Resize": self._resize,
            "Normalize": self._normalize,
            "Pad": self._pad,
            "MultiScaleFlipAug": self._test_time,
            "Collect": self._pack,
            "LoadImageFromFile": self._load,
            "AutoAugment": self._choice,
        }
        if name in special:
            return special[name](step, where, test)
        if name in _PACKING:
            return []
        if name in _GONE:
            self.notes.untranslated(where, step, _GONE[str(name)])
            return []
        return [{_RENAMED.get(str(name), {}).get(key, key): value for key, value in step.items()}]

    def _load(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        client = step.pop("file_client_args", None)
        if client is not None and client != {"backend": "disk"}:
            self.notes.untranslated(f"{where}.file_client_args", client, "it is backend_args now")
        return [step]

    def _resize(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        scale = step.pop("img_scale", None)
        mode = step.pop("multiscale_mode", "range")
        ratios = step.pop("ratio_range", None)
        step.pop("override", None)
        clip = step.pop("bbox_clip_border", True)
        step.setdefault("keep_ratio", True)  # the default was True, and is False
        several = isinstance(scale, (list, tuple)) and scale and not isinstance(scale[0], int)
        if several and len(scale) == 1:
            scale, several = scale[0], False
        if several and mode == "value":
            step = {"type": "RandomChoiceResize", "scales": list(scale), **_without(step, "type")}
        elif several:
            step = {"type": "RandomResize", "scale": list(scale), **_without(step, "type")}
        elif ratios is not None:
            step = {
                "type": "RandomResize",
                "scale": scale,
                "ratio_range": ratios,
                **_without(step, "type"),
            }
        elif scale is not None:
            step = {"type": "Resize", "scale": scale, **_without(step, "type")}
        if not clip:
            step["clip_object_border"] = False
        return [step]

    def _normalize(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        for key, new in (("mean", "mean"), ("std", "std")):
            self.preprocessing.set(new, list(step[key]), f"{where}.{key}", self.notes)
        to_rgb = bool(step.get("to_rgb", True))
        self.preprocessing.set("bgr_to_rgb", to_rgb, f"{where}.to_rgb", self.notes)
        return []

    def _pad(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        if "size_divisor" in step and self.scope == "mmdet":
            divisor = step["size_divisor"]
            self.preprocessing.set("pad_size_divisor", divisor, f"{where}.size_divisor", self.notes)
            return []
        if self.scope == "mmseg":
            if "size_divisor" in step:
                divisor = step["size_divisor"]
                self.preprocessing.settings.setdefault("test_cfg", {"size_divisor": divisor})
            elif "size" in step and not test:
                self.preprocessing.set("size", tuple(step["size"]), f"{where}.size", self.notes)
            for key in ("pad_val", "seg_pad_val"):
                if key in step:
                    self.preprocessing.set(key, step[key], f"{where}.{key}", self.notes)
            return []
        value = step.get("pad_val")
        if isinstance(value, (int, float)):
            step["pad_val"] = {"img": (value, value, value)}
        return [step]

    def _pack(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        packed: dict[str, Any] = {
            "type": "PackDetInputs" if self.scope == "mmdet" else "PackSegInputs"
        }
        meta = step.get("meta_keys")
        if meta is not None:
            packed["meta_keys"] = tuple(
                name for name in (_META.get(key, key) for key in meta) if name is not None
            )
        elif test and self.scope == "mmdet":
            packed["meta_keys"] = _TEST_META
        return [packed]

    def _test_time(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        scale, ratios = step.get("img_scale"), step.get("img_ratios")
        several = isinstance(scale, list) and len(scale) > 1
        if step.get("flip") or several:
            what = {key: step[key] for key in ("img_scale", "img_ratios", "flip") if key in step}
            self.notes.untranslated(
                where, what, "several copies of an image are tta_pipeline and tta_model now"
            )
        elif ratios and list(ratios) != [1.0]:
            self.notes.untranslated(f"{where}.img_ratios", ratios, "one scale is tested: the first")
        if isinstance(scale, list):
            scale = scale[0]
        done: list[dict[str, Any]] = []
        for index, inner in enumerate(step.get("transforms") or ()):
            inner = dict(inner)
            if inner.get("type") == "Resize" and scale is not None:
                inner.setdefault("img_scale", scale)
            if inner.get("type") == "RandomFlip":
                continue  # it only obeyed ``flip``
            done += self._step(inner, f"{where}.transforms[{index}]", test)
        return done

    def _choice(self, step: dict[str, Any], where: str, test: bool) -> list[dict[str, Any]]:
        policies = [
            self.upgrade(policy, f"{where}.policies[{index}]", test=False)
            for index, policy in enumerate(step.get("policies") or ())
        ]
        return [{"type": "RandomChoice", "transforms": policies}]

    def _with_truth(self, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Load the ground truth of validation images, with which metrics compare."""
        names = [step["type"] for step in steps]
        if "LoadAnnotations" in names or not names[-1:] or not names[-1].startswith("Pack"):
            return steps
        load: dict[str, Any] = {"type": "LoadAnnotations"}
        if self.scope == "mmdet":
            load["with_bbox"] = True
            if self.with_mask:
                load["with_mask"] = True
        return [*steps[:-1], load, steps[-1]]


def _without(step: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name != key}
