"""Promise: after ``to_weights_only`` nothing is left that the weights-only reader would refuse."""

from __future__ import annotations

import enum
import io
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmattn.io.weights_only import to_weights_only

Point = namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 3


class Name(str):
    pass


def refuse(path: str, value: Any) -> None:
    raise AssertionError(f"{path} is foreign: {value!r}")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.1), 0.1),
        (np.int64(2**62), 2**62),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (Name("a"), "a"),
        (Colour.RED, 3),
        (Point(np.int8(1), 2.0), (1, 2.0)),
        (defaultdict(list, a=[np.float32(0.5)]), {"a": [0.5]}),
        (OrderedDict(b=1, a=2), OrderedDict(b=1, a=2)),
        (Counter("aab"), Counter("aab")),
        ({1: {2: (3, None)}}, {1: {2: (3, None)}}),
        ({"a", "b"}, {"a", "b"}),
        (Path("a/b"), "a/b"),
        (np.array(["sky", "road"]), ["sky", "road"]),
        (torch.Size([1, 2]), torch.Size([1, 2])),
        (torch.float16, torch.float16),
    ],
)
def test_values_become_plain_and_stay_equal(value: Any, plain: Any) -> None:
    found = to_weights_only(value, refuse)
    assert type(found) is type(plain)
    assert found == plain
    buffer = io.BytesIO()
    torch.save(found, buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == plain


@pytest.mark.parametrize("array", [np.arange(4)[::-1], np.ones(2, ">f4"), np.float64([[1, 2]])])
def test_arrays_become_tensors(array: np.ndarray) -> None:
    found = to_weights_only({"a": array}, refuse)["a"]
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.numpy(), array)


def test_tensors_are_shared_and_module_versions_kept() -> None:
    state = torch.nn.BatchNorm2d(3).state_dict()
    found = to_weights_only(state, refuse)
    assert found["weight"].data_ptr() == state["weight"].data_ptr()
    assert found._metadata == state._metadata
    assert not found["weight"].requires_grad


def test_foreign_objects_are_named_and_left_out() -> None:
    places = []
    value = {"meta": {"hook": deque([1]), "keep": [1, print, 2]}, "fn": len}
    found = to_weights_only(value, lambda path, _: places.append(path))
    assert found == {"meta": {"keep": [1, 2]}}
    assert places == ["meta.hook", "meta.keep[1]", "fn"]
