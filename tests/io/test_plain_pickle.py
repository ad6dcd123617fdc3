"""Promise: a plain pickle of arrays is opened, and no other file is read to find out."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

from mmattn.io.plain_pickle import open_plain_pickle

WEIGHTS = {"model": {"a.weight": np.arange(6, dtype=np.float32)}, "__author__": "somebody"}


class Counted(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, *size: Any) -> bytes:
        found = super().read(*size)
        self.count += len(found)
        return found


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_opened(protocol: int) -> None:
    assert open_plain_pickle(io.BytesIO(pickle.dumps(WEIGHTS, protocol))) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"PK\x03\x04" + bytes(1 << 20) + b".",
        b"<html>" + bytes(1 << 20) + b".",
        pickle.dumps(WEIGHTS, 4)[:-1] + bytes(1 << 20),
    ],
    ids=["empty", "short", "zip", "page", "cut"],
)
def test_another_file_is_not_read(content: bytes) -> None:
    file = Counted(content)
    assert open_plain_pickle(file) is None
    assert file.count <= 2


def test_a_pickle_without_arrays_is_no_file_of_weights() -> None:
    assert open_plain_pickle(io.BytesIO(pickle.dumps({"model": {"a": 1}}))) is None
