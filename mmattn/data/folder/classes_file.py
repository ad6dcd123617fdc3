"""``classes.json``: the names of the classes and what stands for each of them in the masks.

Lists in other files (``classes.txt``, ``labels.csv``, …) are read by ``class_list.py`` and mean the
same. JSON has one of these four forms::

    ["road", "car", "tree"]                     mask value 0, 1, 2
    {"0": "road", "7": "car", "200": "tree"}    mask value to name
    {"road": 0, "car": 7, "tree": 200}          name to mask value
    {"road": [128, 64, 128], "car": [0, 0, 142]}    name to colour, RGB; also a list of colours

The order is that of the labels. A class called ``ignore``, in any letters, is none: its pixels are
left out of training and metrics. Two values, or colours, of one name are one class.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmattn.errors import ConfigError, DataError, did_you_mean

from .class_list import ClassList, is_class_list, read_class_list

#: The name whose pixels are left out, in any letter case.
IGNORE = "ignore"
#: Names, in lower case, that often stand for the same and are ordinary classes here.
LIKE_IGNORE = (
    *("ignored", "void", "unlabeled", "unlabelled", "unknown", "undefined"),
    *("dontcare", "don't care", "not labelled", "not labeled"),
)
#: The label of pixels that losses and metrics leave out.
IGNORED = 255
#: Labels are stored in 8 bits, of which 255 is taken.
MOST_CLASSES = 255
_DEEPEST = 65535

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class FolderClasses:
    """The classes of a folder.

    Attributes:
        names: Class names; the position is the label.
        values: Mask value -> label, 255 for ignored.
        colours: Mask colour -> label, 255 for ignored; None where the file has no colours.
        by_position: Whether the values are only places in a list, not stated by the file.
        palette: Colours to show the classes in; None where none are known.
        source: Where the classes are stated, used in messages.
    """

    names: tuple[str, ...]
    values: Mapping[int, int]
    source: str
    colours: Mapping[Colour, int] | None = None
    by_position: bool = True
    palette: Sequence[Colour] | None = None

    def select(self, chosen: Sequence[str]) -> FolderClasses:
        """Return the classes called ``chosen``, in that order; pixels of the others are ignored.

        Raises:
            ConfigError: A name that is none of the folder's, or one twice.
        """
        chosen = tuple(chosen)
        for name in chosen:
            if name not in self.names:
                raise ConfigError(
                    f"metainfo.classes: {name!r} is no class of {self.source}, which has "
                    f"{', '.join(self.names)}.{did_you_mean(name, self.names)}"
                )
        if not chosen or len(set(chosen)) < len(chosen):
            raise ConfigError(f"metainfo.classes={chosen}: name classes, each of them once")
        if len(chosen) == 1:
            raise ConfigError(
                f"metainfo.classes={chosen}: one class is nothing to learn, since every labelled "
                "pixel belongs to it. Name two or more; to tell one class from all else, give the "
                'values of the others one name in classes.json, such as "background"'
            )
        new = {
            label: chosen.index(name) if name in chosen else IGNORED
            for label, name in enumerate(self.names)
        }
        new[IGNORED] = IGNORED
        return replace(
            self,
            names=chosen,
            values={value: new[label] for value, label in self.values.items()},
            colours=self.colours and {c: new[label] for c, label in self.colours.items()},
            palette=self.palette and [self.palette[self.names.index(name)] for name in chosen],
        )


def read_classes(path: str) -> FolderClasses:
    """Read a ``classes.json``, or a list as ``read_class_list`` takes it.

    Raises:
        DataError: It is missing, is not valid JSON or has none of the forms.
    """
    if is_class_list(path):
        return _from_rows(read_class_list(path))
    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors write a byte order mark
            content = json.load(file, object_pairs_hook=lambda pairs: _unique(pairs, path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON: {error}") from error
    except OSError as error:
        beside = os.listdir(os.path.dirname(path) or ".")
        hint = did_you_mean(os.path.basename(path), beside)
        raise DataError(f"{path}: {error.strerror}.{hint}") from error
    if isinstance(content, list) and content:
        return _from_list([_name(entry, path) for entry in content], path)
    if not isinstance(content, dict) or not content:
        raise _no_form(path, f"it holds {content!r}")
    if not all(isinstance(value, str) for value in content.values()):  # the keys are names
        content = _unique([(_name(key, path), value) for key, value in content.items()], path)
    if all(_is_colour(value) or _is_colours(value) for value in content.values()):
        return _from_colours(content, path)
    if all(isinstance(value, str) for value in content.values()):
        return _from_values(_integer_keys(content, path), path)
    if all(isinstance(v, int) and not isinstance(v, bool) for v in content.values()):
        by_value: dict[int, str] = {}
        for name, value in content.items():
            if value in by_value:
                raise _no_form(path, f"{by_value[value]!r} and {name!r} have the value {value}")
            by_value[value] = name
        return _from_values(by_value, path)
    first = type(next(iter(content.values())))
    key, odd = next((k, v) for k, v in content.items() if type(v) is not first or _bad(v))
    raise _no_form(path, f"{key!r}: {json.dumps(odd)} fits none or another than the entries above")


def _from_list(names: list[str], path: str) -> FolderClasses:
    twice = sorted({n for n in names if names.count(n) > 1 and n != IGNORE})
    if twice:
        raise _no_form(path, f"{', '.join(map(repr, twice))} is in the list twice")
    return _build(dict(enumerate(names)), path)


def _from_values(content: Mapping[int, str], path: str) -> FolderClasses:
    for value, name in content.items():
        if not 0 <= value <= _DEEPEST:
            raise _no_form(path, f"{name!r} has the mask value {value}: 0 to {_DEEPEST} can be")
    return replace(_build(content, path), by_position=False)


def _from_colours(content: Mapping[str, Any], path: str) -> FolderClasses:
    colour_names: dict[Colour, str] = {}
    for name, given in content.items():
        for colour in given if _is_colours(given) else [given]:
            other = colour_names.setdefault(tuple(colour), name)
            if other != name:
                raise _no_form(path, f"{other!r} and {name!r} have the same colour {colour}")
    names = tuple(name for name in content if name != IGNORE)
    label = {**{name: index for index, name in enumerate(names)}, IGNORE: IGNORED}
    first = {name: tuple(g[0] if _is_colours(g) else g) for name, g in content.items()}
    return replace(
        _build(dict(enumerate(content)), path),
        colours={colour: label[name] for colour, name in colour_names.items()},
        palette=[first[name] for name in names],
    )


def _from_rows(listed: ClassList) -> FolderClasses:
    """Return the classes of a list: by its values or colours, else by position."""
    names, path = [_name(name, listed.path) for name in listed.names], listed.path
    by_value: dict[int, str] = {}
    for value, name in zip(listed.values or (), names, strict=False):
        if value in by_value:
            raise _no_form(path, f"{by_value[value]!r} and {name!r} have the value {value}")
        by_value[value] = name
    found = _from_values(by_value, path) if by_value else None
    if listed.colours is not None:
        colours: dict[str, list[list[int]]] = {}
        for name, colour in zip(names, listed.colours, strict=True):
            colours.setdefault(name, []).append(list(colour))
        coloured = _from_colours(colours, path)
        if found is None:
            found = coloured
        else:  # the order is that of the values: both have the same names
            label = {**{name: i for i, name in enumerate(found.names)}, IGNORE: IGNORED}
            in_order = {(*c,): label[name] for name, all_of in colours.items() for c in all_of}
            palette = [(*colours[name][0],) for name in found.names]
            found = replace(found, colours=in_order, palette=palette)  # type: ignore[arg-type]
    return replace(found or _from_list(names, path), source=listed.source)


def _build(by_value: Mapping[int, str], path: str) -> FolderClasses:
    names = tuple(name for name in dict.fromkeys(by_value.values()) if name != IGNORE)
    if len(names) == 1:
        other = "foreground" if names[0].casefold() == "background" else "background"
        raise DataError(
            f"{path} names one class, {names[0]!r}, and one class is nothing to learn: every "
            "labelled pixel would belong to it. Name what is not "
            f'{names[0]!r} too, such as "{other}"; "ignore" is no class'
        )
    if not 0 < len(names) <= MOST_CLASSES:
        raise _no_form(path, f"it names {len(names)} classes: 2 to {MOST_CLASSES} can be")
    by_letters: dict[str, str] = {}
    for name in names:
        other = by_letters.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise _no_form(path, f"{other!r} and {name!r} differ in letter case or spaces only")
    label = {**{name: index for index, name in enumerate(names)}, IGNORE: IGNORED}
    return FolderClasses(names, {v: label[name] for v, name in by_value.items()}, path)


def _integer_keys(content: Mapping[str, str], path: str) -> dict[int, str]:
    found: dict[int, str] = {}
    keys: dict[int, str] = {}
    for key, name in content.items():
        if not re.fullmatch(r"\s*-?[0-9]+\s*", key):
            raise _no_form(path, f"{key!r}: {name!r} is neither a mask value nor a colour")
        value = int(key)
        if value in found:
            raise _no_form(path, f"{keys[value]!r} and {key!r} are the same mask value {value}")
        found[value], keys[value] = _name(name, path), key
    return found


def _unique(pairs: Sequence[tuple[str, Any]], path: str) -> dict[str, Any]:
    """Build a JSON object and refuse equal keys, of which Python would keep the last alone."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _no_form(path, f"{key!r} is there twice")
        found[key] = value
    return found


def _name(entry: Any, path: str) -> str:
    if not isinstance(entry, str) or not entry.strip():
        raise _no_form(path, f"{entry!r} is no name")
    name = entry.strip()
    return IGNORE if name.casefold() == IGNORE else name


def _is_colour(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= 255 for c in value)
    )


def _is_colours(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_colour, value))


def _bad(value: Any) -> bool:
    plain = isinstance(value, (str, int)) and not isinstance(value, bool)
    return not (plain or _is_colour(value) or _is_colours(value))


def _no_form(path: str, reason: str) -> DataError:
    return DataError(
        f'{path}: {reason}. Write ["road", "car"], or {{"0": "road", "7": "car"}} with the values '
        'in the masks, or {"road": [128, 64, 128], "car": [0, 0, 142]} with the colours'
    )
