"""Reads a mask file and returns labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmattn.errors import ConfigError, DataError, did_you_mean
from mmattn.given_words import of_dataset

from .classes_file import IGNORED, FolderClasses
from .stored_mask import StoredMask, read_mask
from .survey import distinct, first_of_upper_half, pack

#: See ``mask_format.py`` for what they mean.
MASK_FORMATS = ("auto", "index", "binary", "rgb", "alpha")
_UNKNOWN = -1
_DEEPEST = 65535
_SHOWN = 5
_SMOOTH = 20


class MaskReader:
    """Reader that turns mask files of one format into labels.

    Args:
        mask_format: ``index``, ``binary``, ``rgb`` or ``alpha``.
        classes: Classes of the folder.
        white: For ``binary``, the value of the upper class where masks hold it and 0 alone; others
            are refused. None divides at half the range.
        unknown_values: ``"error"`` for values and colours that no class has, or ``"ignore"`` their
            pixels.
        reduce_zero_label: For ``index``, 0 is ignored and every other value one less.

    Raises:
        ConfigError: An unknown format, or one that the classes do not fit.
    """

    def __init__(
        self,
        mask_format: str,
        classes: FolderClasses,
        *,
        white: int | None = None,
        unknown_values: str = "error",
        reduce_zero_label: bool = False,
    ) -> None:
        check_choice("mask_format", mask_format, MASK_FORMATS[1:])
        check_choice("unknown_values", unknown_values, ("error", "ignore"))
        self.mask_format, self.classes, self.white = mask_format, classes, white
        self.unknown_values = unknown_values
        self.reduce_zero_label = reduce_zero_label
        if reduce_zero_label and (mask_format != "index" or not classes.by_position):
            reason = (
                f"mask_format={mask_format}"
                if mask_format != "index"
                else f"{classes.source} states them"
            )
            raise ConfigError(
                "reduce_zero_label=True makes the values of index masks count from 1, but "
                f'{reason}. Set it to False; to leave pixels out, call their class "ignore"'
            )
        if mask_format == "rgb":
            if classes.colours is None:
                raise ConfigError(
                    f"mask_format=rgb, but {classes.source} has no colours: write "
                    '{"road": [128, 64, 128], "car": [0, 0, 142]}'
                )
            packed = {r << 16 | g << 8 | b: label for (r, g, b), label in classes.colours.items()}
            self._keys = np.array(sorted(packed), np.int32)
            self._labels = np.array([packed[key] for key in self._keys.tolist()], np.uint8)
        else:
            self._table = self._look_up_table()
            self._labels = self._table.astype(np.uint8)  # the -1 of others becomes 255

    def _look_up_table(self) -> np.ndarray:
        """Value, or 0 and 1 for two halves, to label; ``_UNKNOWN`` for what no class has."""
        table = np.full(_DEEPEST + 1, _UNKNOWN, np.int16)
        values = self.classes.values
        if self.mask_format in ("binary", "alpha"):
            if sorted(values) != [0, 1]:
                raise ConfigError(
                    f"mask_format={self.mask_format} tells two classes apart, but "
                    f"{self.classes.source} names {', '.join(self.classes.names)} with the values "
                    f'{", ".join(map(str, values))}: write two names, ["background", "object"]'
                )
        else:
            table[[IGNORED, _DEEPEST]] = IGNORED
        shift = 0
        if self.reduce_zero_label:
            table[0], shift = IGNORED, 1
        for value, label in values.items():
            table[value + shift] = label
        return table

    def __call__(self, path: str) -> np.ndarray:
        """Return the labels of a mask file, (H, W) uint8; 255 where pixels are ignored.

        Raises:
            DataError: The file cannot be read, does not have the format, or holds what no class
                has.
        """
        mask = read_mask(path)
        if self.mask_format == "rgb":
            return self._from_colours(mask)
        if self.mask_format == "alpha":
            if mask.alpha is None:
                raise DataError(f"the mask {path} has no alpha channel, but mask_format=alpha")
            return self._labels[(mask.alpha >= 128).view(np.uint8)]
        values = mask.grey()
        if self.mask_format == "binary":
            return self._labels[self._halves(values, path)]
        if values.dtype == np.bool_:
            values = values.view(np.uint8)
        held = distinct(values)
        if held and not 0 <= held[0] <= held[-1] <= _DEEPEST:
            raise DataError(
                f"the mask {path} holds {held[0]} to {held[-1]}: values are 0 to {_DEEPEST}"
            )
        wrong = [value for value in held if self._table[value] == _UNKNOWN]
        if wrong and self.unknown_values == "error":
            raise self._unknown_values(path, wrong)
        return self._labels[values]

    def _halves(self, values: np.ndarray, path: str) -> np.ndarray:
        """0 for the lower half of the range, 1 for the upper one."""
        if values.dtype == np.bool_:
            return values.view(np.uint8)
        half = first_of_upper_half(values.dtype)
        if self.white is None:
            return (values >= half).view(np.uint8)
        grey = [value for value in distinct(values) if value not in (0, self.white)]
        if grey:
            key = of_dataset("mask_format")
            raise DataError(
                f"the mask {path} holds {', '.join(map(str, grey[:_SHOWN]))}, the others hold 0 "
                f"and {self.white} alone. Set {key}=binary if {half} and more is "
                f"{self.classes.names[-1]!r}, or {key}=index if the values are classes"
            )
        return (values == self.white).view(np.uint8)

    def _from_colours(self, mask: StoredMask) -> np.ndarray:
        packed = pack(mask.rgb())
        places = np.searchsorted(self._keys, packed).clip(max=len(self._keys) - 1)
        labels = self._labels[places]
        known = self._keys[places] == packed
        if not known.all():
            if self.unknown_values == "error":
                raise self._unknown_colours(mask.path, packed[~known])
            labels[~known] = IGNORED
        return labels

    def _unknown_values(self, path: str, wrong: Sequence[int]) -> DataError:
        listed = ", ".join(map(str, wrong[:_SHOWN])) + (", ..." if len(wrong) > _SHOWN else "")
        known = np.flatnonzero((self._table != _UNKNOWN) & (self._table != IGNORED)).tolist()
        spans = f"{known[0]} to {known[-1]}" if len(known) == known[-1] - known[0] + 1 else known
        return DataError(
            f"the mask {path} holds {listed}; the {len(self.classes.names)} classes of "
            f"{self.classes.source} have the values {spans}. {self._advice(wrong, known)}"
        )

    def _advice(self, wrong: Sequence[int], known: Sequence[int]) -> str:
        """Return the usual cause of such values."""
        count, unknown = len(self.classes.names), of_dataset("unknown_values")
        key, zero = of_dataset("mask_format"), of_dataset("reduce_zero_label")
        if not self.classes.by_position:
            return f'Name {wrong[0]} there, "ignore" if it is no class; or set {unknown}=ignore'
        if list(wrong) == [known[-1] + 1] and not self.reduce_zero_label:
            return (
                f"If the classes count from 1 and 0 is no class, set {zero}=True; if "
                f"{wrong[0]} is a class, add its name; if it is no class, add the name "
                '"ignore"'
            )
        if len(known) == 2 and max(wrong) > 127:
            return (
                f"If the masks are black and white with grey edges, set {key}=binary: 128 and "
                "more is the second class"
            )
        step = int(np.gcd.reduce(list(wrong)))
        if step > 1 and len(wrong) > 1 and max(wrong) // step < max(count, 2):
            return (
                f"They are multiples of {step}, as in a mask stretched for viewing: write the "
                f'values, {{"0": "{self.classes.names[0]}", "{step}": ...}}'
            )
        return (
            "Write what the values mean into classes.json, "
            f'{{"{wrong[0]}": "name"}}; or set {unknown}=ignore to leave such pixels out'
        )

    def _unknown_colours(self, path: str, packed: np.ndarray) -> DataError:
        found, counts = np.unique(packed, return_counts=True)
        order = np.argsort(-counts)[:_SHOWN]
        listed = ", ".join(
            f"({c >> 16}, {c >> 8 & 255}, {c & 255}) at {n} pixels"
            for c, n in zip(found[order].tolist(), counts[order].tolist(), strict=True)
        )
        smooth = (
            " So many colours come from smooth resizing or lossy compression: export the masks "
            "anew, as PNG."
            if len(found) > _SMOOTH
            else ""
        )
        return DataError(
            f"the mask {path} holds {len(found)} colours that {self.classes.source} lacks: "
            f"{listed}.{smooth} Add them there, as a class or as "
            f'"ignore"; or set {of_dataset("unknown_values")}=ignore to leave such pixels out'
        )


def check_choice(option: str, value: str, known: Sequence[str]) -> None:
    """Raise a ConfigError unless ``value`` is one of ``known``."""
    if value not in known:
        raise ConfigError(
            f"{option}={value!r}: give one of {', '.join(known)}.{did_you_mean(str(value), known)}"
        )
