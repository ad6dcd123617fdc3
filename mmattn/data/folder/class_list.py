"""Lists of classes as text: ``classes.txt``, ``labels.csv`` and their like.

A table has one class a row and, in any order, a column of names and, if there are any, one of
values (of masks) or numbers (of boxes), or three of red, green and blue. A first row of titles
says which is which; without it, whole numbers tell::

    name,r,g,b             id;name          road
    road,128,64,128        0;road           car
    car,0,0,142            7;car            tree

Text files may have the same in words, as ``0 road``, ``0: road`` or ``64 128 64 road``, if every
line has, or CVAT's ``road:128,64,128::``. Otherwise a line is a name.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mmattn.errors import DataError, did_you_mean

#: Files that are looked for beside the data, of masks as of boxes; the first one that is a list of
#: classes counts.
CLASS_LISTS = (
    *("classes.txt", "obj.names", "classes.names", "classes.csv", "class_dict.csv"),
    *("labels.csv", "labels.txt", "_darknet.labels"),
)
#: Beside masks also these, which give a colour to each class, the background among them.
COLOUR_LISTS = ("label_colors.txt", "labelmap.txt")
ENDINGS = (".txt", ".csv", ".tsv", ".names", ".labels")

_NAME = ("name", "classname", "labelname", "class", "classes", "category", "label", "labels")
_NAME += ("names", "categoryname")
_VALUE = ("value", "id", "index", "idx", "classid", "labelid", "categoryid", "classindex")
_VALUE += ("number", "pixelvalue", "maskvalue", "pixel", "gray", "grey", "label", "class")
_COLOUR = (("r", "red"), ("g", "green"), ("b", "blue"))
_INTEGER = re.compile(r"[0-9]+")
#: Forms of the lines of a text file: value or colour before or behind the name.
_LINES = {
    "colour": (
        re.compile(r"(?P<r>\d+)[\s,;]+(?P<g>\d+)[\s,;]+(?P<b>\d+)[\s,;:]+(?P<name>\S.*)"),
        re.compile(r"(?P<name>.*?\S)[\s,;:]+(?P<r>\d+)[\s,;]+(?P<g>\d+)[\s,;]+(?P<b>\d+)"),
        re.compile(r"(?P<name>[^:]+):(?P<r>\d+),(?P<g>\d+),(?P<b>\d+):.*"),
    ),
    "value": (
        re.compile(r"(?P<value>\d+)[\s:,;=]+(?P<name>\S.*)"),
        re.compile(r"(?P<name>.*?\S)\s*[:,;=\t]\s*(?P<value>\d+)"),
    ),
}


@dataclass(frozen=True)
class ClassList:
    """Names, values and colours of a list of classes, row by row.

    Attributes:
        names: Names, in the order of the file.
        path: The file.
        values: The number of each name, where the file has them.
        colours: RGB of each name, likewise.
        columns: Titles or sorts of the columns that are used, for messages.
    """

    names: tuple[str, ...]
    path: str
    values: tuple[int, ...] | None = None
    colours: tuple[tuple[int, int, int], ...] | None = None
    columns: tuple[str, ...] = ("name",)

    @property
    def source(self) -> str:
        """The file, and the columns of it that are used where it has several."""
        return self.path if len(self.columns) < 2 else f"{self.path} ({', '.join(self.columns)})"


def is_class_list(path: str) -> bool:
    """Return whether a file's ending is that of a list of classes."""
    return os.path.splitext(path)[1].lower() in ENDINGS


def read_class_list(path: str) -> ClassList:
    """Read a list of classes.

    Raises:
        DataError: It is missing, empty, or its rows do not say the same sort of thing.
    """
    lines = _lines(path)
    if not lines:
        raise DataError(f"{path} is empty: write the names of the classes, one a line")
    delimiter = _delimiter(path, lines)
    if delimiter is None:
        return _of_text(path, lines)
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    return _of_table(path, rows)


def find_class_list(
    root: str, files: Iterable[str], least: int = 1
) -> tuple[str | None, list[str]]:
    """Return the file in a folder that lists its classes, and notes on others of such names.

    A file that is no list of classes, such as a ``labels.csv`` of images and their labels, is
    passed over with a note.

    Args:
        root: The folder.
        files: Files in it, by their names.
        least: Smallest number of classes that are something to learn.
    """
    there = {file.lower(): file for file in files}
    found, notes = None, []
    for name in (*CLASS_LISTS, *COLOUR_LISTS):
        if name not in there:
            continue
        path = os.path.join(root, there[name])
        reason = f"{os.path.basename(found)} is" if found else _why_none(path, least)
        if reason is None:
            found = path
        else:
            notes.append(f"{path} is not read for the classes: {reason}; classes_file chooses")
    return found, notes


def _why_none(path: str, least: int) -> str | None:
    """Return why a file is no list of classes; None where it is one."""
    try:
        listed = read_class_list(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ").removeprefix(path).strip()
    twice = sorted({name for name in listed.names if listed.names.count(name) > 1})
    if twice and listed.values is None and listed.colours is None:
        return f"it has {twice[0]!r} several times"
    return f"it names {listed.names[0]!r} alone" if len(listed.names) < least else None


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig", newline=None) as file:
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read as text: {error}. Save it as UTF-8") from error
    except OSError as error:
        folder = os.path.dirname(path) or "."
        beside = os.listdir(folder) if os.path.isdir(folder) else []
        hint = did_you_mean(os.path.basename(path), beside)
        raise DataError(f"{path}: {error.strerror}.{hint}") from error
    return [line.strip(" ") for line in lines if line.strip()]


def _delimiter(path: str, lines: Sequence[str]) -> str | None:
    """Return what separates the columns of a table; None for a text of lines."""
    if not path.lower().endswith((".csv", ".tsv")):
        return None
    counts = {mark: lines[0].count(mark) for mark in (",", ";", "\t")}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","


def _of_text(path: str, lines: Sequence[str]) -> ClassList:
    plain = [line for line in lines if not line.startswith("#")] or list(lines)
    for sort, patterns in _LINES.items():
        for pattern in patterns:
            found = [match for line in plain if (match := pattern.fullmatch(line.strip()))]
            if len(found) < len(plain):
                continue
            names = tuple(match["name"].strip() for match in found)
            if sort == "colour":
                colours = tuple((int(m["r"]), int(m["g"]), int(m["b"])) for m in found)
                if max(map(max, colours)) <= 255:
                    columns = ("name", "red", "green", "blue")
                    return ClassList(names, path, colours=colours, columns=columns)
            # "1 euro", "2 euro" are names that begin with a number.
            elif len(set(names)) == len(names):
                values = tuple(int(match["value"]) for match in found)
                return ClassList(names, path, values=values, columns=("value", "name"))
    return ClassList(tuple(line.strip() for line in lines), path)


def _of_table(path: str, rows: Sequence[Sequence[str]]) -> ClassList:
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise DataError(
                f"{path}: row {number} has {len(row)} columns, the first has {width}: write the "
                "same in every row, names with a separator in quotes"
            )
    titles = [re.sub(r"[^a-z]", "", cell.lower()) for cell in rows[0]]
    body = rows[1:] if _is_title_row(titles, rows[0]) else rows
    if body is rows:
        titles = [""] * width
    if not body:
        raise DataError(f"{path} has titles and no row below: write one class a row")
    whole = [all(_INTEGER.fullmatch(row[i]) for row in body) for i in range(width)]
    name = _column(titles, _NAME, [i for i in range(width) if not whole[i]])
    if name is None:
        if width > 1 or not titles[0]:
            raise DataError(
                f"{path}: which column has the names? It has {', '.join(rows[0])} in its first "
                "row. Write name, id or name, r, g, b above them"
            )
        name = 0  # names that are numbers, below a title
    colours = [_column(titles, words, range(width), sure=True) for words in _COLOUR]
    numbers = [i for i in range(width) if whole[i] and i != name and i not in colours]
    if None in colours and not any(titles) and len(numbers) in (3, 4):
        colours, numbers = numbers[-3:], numbers[:-3]
    value = None
    if any(titles):
        value = _column(titles, _VALUE, [i for i in numbers if i != name], sure=True)
    elif len(numbers) == 1:
        value = numbers[0]
    elif numbers:
        raise DataError(
            f"{path}: {len(numbers)} columns of numbers have no titles: write name, id or name, r, "
            "g, b above them"
        )
    used = ["name"]
    values = stated = None
    if value is not None:
        values = tuple(int(row[value]) for row in body)
        used.append(rows[0][value] if any(titles) else "value")
    if None not in colours:
        stated = tuple(_colour([row[i] for i in colours], path) for row in body)  # type: ignore[index]
        used += ["red", "green", "blue"]
    names = tuple(row[name] for row in body)
    if not all(names):
        raise DataError(f"{path}: row {names.index('') + 1 + (body is not rows)} has no name")
    return ClassList(names, path, values, stated, tuple(used))


def _is_title_row(titles: Sequence[str], cells: Sequence[str]) -> bool:
    """Return whether a first row has titles: no numbers, and a known word in it."""
    known = {*_NAME, *_VALUE, *(word for words in _COLOUR for word in words)}
    return not any(_INTEGER.fullmatch(cell) for cell in cells) and any(t in known for t in titles)


def _column(
    titles: Sequence[str], words: Sequence[str], among: Sequence[int] | range, *, sure: bool = False
) -> int | None:
    """Return the column whose title comes first in ``words``, else the only one there is."""
    for word in words:
        for index in among:
            if titles[index] == word:
                return index
    return among[0] if len(among) == 1 and not sure else None


def _colour(cells: Sequence[str], path: str) -> tuple[int, int, int]:
    if not all(_INTEGER.fullmatch(cell) and int(cell) <= 255 for cell in cells):
        raise DataError(f"{path}: {', '.join(cells)} is no colour: 0 to 255 each")
    red, green, blue = map(int, cells)
    return red, green, blue
