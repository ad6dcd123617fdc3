"""Random inputs of the property tests, and how many of them are drawn."""

from __future__ import annotations

import os
import string
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mmattn.detections import Detections

#: Inputs of each property by default, and in the nightly run.
CI, NIGHTLY = 12, 200


def is_nightly() -> bool:
    """Return whether ``MMATTN_FUZZ`` asks for the long run."""
    return os.environ.get("MMATTN_FUZZ", "ci") == "nightly"


# --- numbers -------------------------------------------------------------------------------------

seeds = st.integers(0, 2**31)
sides = st.integers(1, 97)
#: Coordinates that doubles and floats hold exactly: eighths of a pixel.
coordinates = st.integers(-800, 2400).map(lambda value: value / 8)


@st.composite
def boxes(draw: Any, most: int = 9, *, proper: bool = False) -> np.ndarray:
    """Boxes (N, 4) of corners, float32; some have no area unless they are to be proper."""
    count = draw(st.integers(0, most))
    least = 1 if proper else 0
    rows = []
    for _ in range(count):
        x, y = draw(coordinates), draw(coordinates)
        w, h = (draw(st.integers(least, 1600)) / 8 for _ in range(2))
        rows.append((x, y, x + w, y + h))
    return np.array(rows, np.float32).reshape(-1, 4)


@st.composite
def detections(draw: Any, classes: int = 3) -> Detections:
    """Detections with ties, crowded so that they overlap."""
    found = draw(boxes(12))
    count = len(found)
    scores = draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    return Detections.of(found / 4, np.array(scores) / 8, labels)


def same(one: Detections, other: Detections) -> bool:
    """Return whether two sets of detections are equal, to the bit and in order."""
    return all(
        np.array_equal(getattr(one, key), getattr(other, key))
        for key in ("boxes", "scores", "labels")
    )


# --- data that files hold ------------------------------------------------------------------------

#: Texts with what parsers stumble over.
texts = st.one_of(
    st.text(max_size=20),
    st.text(string.printable, max_size=40),
    st.sampled_from(["", " ", "nan", "-0", "1e999", "\ufeff", "\x00", "null", "~", "../../x", "é"]),
)
plain_numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(allow_nan=True, allow_infinity=True), st.booleans()
)
scalars = st.one_of(st.none(), plain_numbers, texts)


def trees(leaves: st.SearchStrategy = scalars, keys: st.SearchStrategy = texts, size: int = 12):
    """Nested lists and dictionaries, as JSON has them."""
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
        ),
        max_leaves=size,
    )


def finite(value: Any) -> bool:
    """Return whether a tree holds no number that differs from itself or has no end."""
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return not isinstance(value, float) or bool(np.isfinite(value))


@st.composite
def spoilt(draw: Any, content: Any) -> Any:
    """The content of a file with one to three of its values replaced, dropped or doubled."""
    import copy

    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        holders = [node for node in _holders(content) if len(node)]
        if not holders:
            break
        node = draw(st.sampled_from(holders))
        key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        change = draw(st.sampled_from(["replace", "replace", "drop", "double", "nest"]))
        if change == "drop":
            del node[key]
        elif change == "double" and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        elif change == "nest":
            node[key] = [node[key]]
        else:
            node[key] = draw(trees(size=4))
    return content


def _holders(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, (dict, list)) else []
    return own + [holder for one in inner for holder in _holders(one)]


names = st.text(string.ascii_letters + string.digits + " _-äß字", min_size=1, max_size=12).filter(
    lambda name: name == name.strip() and name != ""
)
class_names = st.lists(names, min_size=1, max_size=6, unique_by=lambda name: name.casefold())
