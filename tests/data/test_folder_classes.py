"""Promise: classes.json is read in its four forms, and what is wrong with it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmattn.data.folder import FolderClasses, read_classes
from mmattn.errors import ConfigError, DataError


def read(content: Any, folder: Path) -> FolderClasses:
    file = folder / "classes.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_classes(str(file))


def test_a_list_counts_from_zero(tmp_path: Path) -> None:
    classes = read(["road", "car"], tmp_path)
    assert classes.names == ("road", "car")
    assert classes.values == {0: 0, 1: 1}
    assert classes.by_position and classes.colours is None


def test_ignore_takes_a_place_and_is_no_class(tmp_path: Path) -> None:
    classes = read(["sky", "ignore", "road", "ignore"], tmp_path)
    assert classes.names == ("sky", "road")
    assert classes.values == {0: 0, 1: 255, 2: 1, 3: 255}


@pytest.mark.parametrize("word", ["Ignore", "IGNORE", " ignore "])
@pytest.mark.parametrize(
    "form",
    [
        lambda word: ["sky", word, "road"],
        lambda word: {"0": "sky", "1": word, "2": "road"},
        lambda word: {"sky": 0, word: 1, "road": 2},
        lambda word: {"sky": [0, 0, 0], word: [1, 1, 1], "road": [2, 2, 2]},
    ],
    ids=["list", "values", "names", "colours"],
)
def test_ignore_in_any_letters(word: str, form: Callable, tmp_path: Path) -> None:
    classes = read(form(word), tmp_path)
    assert classes.names == ("sky", "road")
    assert classes.values == {0: 0, 1: 255, 2: 1}


def test_spaces_around_names_and_values_are_left_out(tmp_path: Path) -> None:
    assert read([" sky", "road "], tmp_path).names == ("sky", "road")
    assert read({" 07 ": "sky", "1": "road"}, tmp_path).values == {7: 0, 1: 1}


@pytest.mark.parametrize(
    "content",
    [{"7": "road", "0": "car", "1000": "road", "3": "ignore"},
     '\ufeff{"7": "road", "0": "car", "1000": "road", "3": "ignore"}'],
    ids=["values", "byte order mark"],
)  # fmt: skip
def test_values_to_names(content: Any, tmp_path: Path) -> None:
    classes = read(content, tmp_path)
    assert classes.names == ("road", "car")
    assert classes.values == {7: 0, 0: 1, 1000: 0, 3: 255}
    assert not classes.by_position


def test_names_to_values(tmp_path: Path) -> None:
    assert read({"road": 7, "car": 0, "ignore": 3}, tmp_path).values == {7: 0, 0: 1, 3: 255}


def test_colours(tmp_path: Path) -> None:
    content = {"road": [128, 64, 128], "ignore": [0, 0, 0], "car": [[0, 0, 142], [0, 0, 70]]}
    classes = read(content, tmp_path)
    assert classes.names == ("road", "car")
    assert classes.colours == {
        (128, 64, 128): 0,
        (0, 0, 0): 255,
        (0, 0, 142): 1,
        (0, 0, 70): 1,
    }
    assert classes.palette == [(128, 64, 128), (0, 0, 142)]
    assert classes.values == {0: 0, 1: 255, 2: 1}


def test_some_classes_in_another_order(tmp_path: Path) -> None:
    chosen = read({"a": [1, 1, 1], "b": [2, 2, 2], "c": [3, 3, 3]}, tmp_path).select(("c", "a"))
    assert chosen.names == ("c", "a")
    assert chosen.values == {0: 1, 1: 255, 2: 0}
    assert chosen.colours == {(1, 1, 1): 1, (2, 2, 2): 255, (3, 3, 3): 0}
    assert chosen.palette == [(3, 3, 3), (1, 1, 1)]


def test_a_class_that_is_not_there(tmp_path: Path) -> None:
    classes = read(["road", "bicycle"], tmp_path)
    with pytest.raises(ConfigError, match=r"'bycicle' is no class of .* mean 'bicycle'"):
        classes.select(("bycicle",))
    with pytest.raises(ConfigError, match="each of them once"):
        classes.select(("road", "road"))


WRONG = {
    "not JSON": ('["road", ', "is not valid JSON"),
    "empty": ("[]", r"it holds \[\]"),
    "a number": ("3", "it holds 3"),
    "twice in the list": (["a", "b", "a"], "'a' is in the list twice"),
    "no name": (["a", 3], "3 is no name"),
    "blank": (["a", " "], "' ' is no name"),
    "key twice": ('{"0": "a", "0": "b"}', "'0' is there twice"),
    "name to name": ({"road": "grey"}, "'road': 'grey' is neither a mask value nor a colour"),
    "value twice": ({"a": 1, "b": 1}, "'a' and 'b' have the value 1"),
    "value too large": ({"70000": "a"}, "70000"),
    "two numbers": ({"a": [1, 2, 3], "b": [1, 2]}, r"'b': \[1, 2\]"),
    "beyond 8 bits": ({"a": [1, 2, 3], "b": [1, 2, 300]}, r"'b': \[1, 2, 300\]"),
    "mixed": ({"a": 1, "b": [1, 2, 3]}, "'b'"),
    "true": ({"a": True}, "'a': true"),
    "colour twice": ({"a": [1, 2, 3], "b": [1, 2, 3]}, "'a' and 'b' have the same colour"),
    "only ignored": (["ignore"], "it names 0 classes"),
    "one class": (["crack"], "one class is nothing to learn"),
    "one class by value": ({"0": "ignore", "1": "crack"}, "one class, 'crack'"),
    "one class of two values": ({"0": "crack", "255": "crack"}, "one class, 'crack'"),
    "one colour": ({"background": [0, 0, 0], "Ignore": [9, 9, 9]}, 'such as "foreground"'),
    "zeros before a value": ({"0": "a", "1": "b", "01": "c"}, "'1' and '01' are the same"),
    "space before a value": ({"1": "a", " 1": "b", "2": "c"}, "'1' and ' 1' are the same"),
    "a sign and a line": ({"+1": "a", "1_0": "b"}, "'\\+1': 'a' is neither"),
    "letter case": (["Road", "road"], "'Road' and 'road' differ in letter case"),
    "spaces inside": ({"0": "big car", "1": "big  car"}, "differ in letter case or spaces"),
    "names of one value": ({"road": 1, "road ": 2}, "'road' is there twice"),
    "too many": ([f"c{i}" for i in range(256)], "it names 256 classes"),
}


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read(content, tmp_path)
    assert "classes.json" in str(caught.value)


def test_a_missing_file_with_the_nearest_name(tmp_path: Path) -> None:
    read(["a", "b"], tmp_path)
    with pytest.raises(DataError, match=r"Did you mean 'classes\.json'"):
        read_classes(str(tmp_path / "clases.json"))
