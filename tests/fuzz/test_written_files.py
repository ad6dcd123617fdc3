"""Properties of files that mmattn writes: whole or not there, and damage is an error."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from mmattn.errors import CheckpointError
from mmattn.io import atomic_write, read_checkpoint, save_safetensors, save_torch
from mmattn.io.checkpoint_files import read_weights_stream, safetensors_bytes, torch_bytes
from mmattn.io.digests import add_digest, check_digest
from mmattn.io.weights_only import to_weights_only
from tests.support.fuzzing import seeds, texts

DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.uint8, torch.bool),
)
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@st.composite
def tensors(draw: Any) -> torch.Tensor:
    """Tensors of any type and shape, some of them views."""
    generator = torch.Generator().manual_seed(draw(seeds))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    values = torch.randn(shape, generator=generator).mul(10).to(draw(st.sampled_from(DTYPES)))
    if values.ndim > 1 and draw(st.booleans()):
        values = values.transpose(0, 1)
    return values


weights = st.dictionaries(
    st.text("abc.01", min_size=1, max_size=8), tensors(), min_size=1, max_size=4
)
plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False),
        texts, st.binary(max_size=8), tensors(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(texts, inner, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        pairs = zip(one, other, strict=True)
        return type(one) is type(other) and all(equal(a, b) for a, b in pairs)
    return type(one) is type(other) and one == other


def read(content: bytes, name: str = "x.pth") -> Any:
    return read_weights_stream(io.BytesIO(content), name=name)


# --- whole or not there --------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=4), st.binary(max_size=20))
def test_a_file_is_replaced_as_a_whole(folder: Path, parts: list[bytes], before: bytes) -> None:
    path = folder / "whole"
    path.write_bytes(before)
    with atomic_write(path) as file:
        for part in parts:
            file.write(part)
            file.flush()
            assert path.read_bytes() == before
    assert path.read_bytes() == b"".join(parts)
    assert [entry.name for entry in folder.glob(".*")] == []


@given(st.lists(st.binary(max_size=200), max_size=4), st.booleans())
def test_an_error_leaves_what_was_there(folder: Path, parts: list[bytes], there: bool) -> None:
    path = folder / "kept"
    path.unlink(missing_ok=True)
    if there:
        path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as file:
        for part in parts:
            file.write(part)
        raise KeyboardInterrupt
    assert path.exists() == there and (not there or path.read_bytes() == b"old")
    assert [entry.name for entry in folder.glob(".*")] == []


@given(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=80))
@example("a" * 255)
@example(".hidden")
@example("%s {} \n")
def test_any_name_that_a_file_can_have_is_written(folder: Path, name: str) -> None:
    path = folder / "names" / name
    if name in (".", "..") or len(name.encode()) > 255:
        return
    with atomic_write(path, "w") as file:
        file.write(name)
    assert path.read_text(encoding="utf-8") == name.replace("\r\n", "\n").replace("\r", "\n")
    path.unlink()
    assert not list(path.parent.iterdir())


# --- what was saved is read ----------------------------------------------------------------------


@given(st.dictionaries(texts, plain, min_size=1, max_size=3))
def test_a_checkpoint_gives_what_was_saved(folder: Path, content: dict[str, Any]) -> None:
    save_torch(folder / "a.pth", content)
    assert equal(read_checkpoint(folder / "a.pth"), content)


@given(weights, st.dictionaries(st.text("xyz", min_size=1), texts, max_size=2))
def test_safetensors_give_what_was_saved(folder: Path, content: dict, metadata: dict) -> None:
    save_safetensors(folder / "a.safetensors", content, metadata)
    found = read_checkpoint(folder / "a.safetensors")
    found = found["state_dict"] if metadata else found
    assert found.keys() == content.keys()
    assert all(equal(found[key], value) for key, value in content.items())


@given(st.dictionaries(texts, plain, max_size=3))
def test_plain_data_are_left_as_they_are(content: dict[str, Any]) -> None:
    def refuse(path: str, value: Any) -> None:
        raise AssertionError(f"{path}: {value!r}")

    assert equal(to_weights_only(content, refuse), content)


# --- damage --------------------------------------------------------------------------------------


@given(weights, st.integers(0, 2**20), st.integers(1, 255))
def test_a_changed_byte_of_a_torch_file_is_noticed(content: dict, place: int, change: int) -> None:
    whole = torch_bytes(content).getvalue()
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= change
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        read(bytes(damaged))


@given(weights, st.integers(0, 2**20), st.integers(1, 255))
def test_a_changed_byte_of_safetensors_is_noticed_or_changes_nothing(content, place, change):
    whole = safetensors_bytes("x.safetensors", content)
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= change
    try:
        found = read(bytes(damaged), "x.safetensors")
    except CheckpointError as error:
        assert "x.safetensors" in str(error)
    else:  # a blank of the header, or the name of the digest, which is another entry then
        found = found["state_dict"] if set(found) == {"state_dict", "meta"} else found
        assert found.keys() == content.keys()
        assert all(equal(found[key], value) for key, value in content.items())


@given(weights, st.integers(0, 2**20), st.booleans())
def test_a_cut_file_is_refused(content: dict, place: int, is_torch: bool) -> None:
    name = "x.pth" if is_torch else "x.safetensors"
    whole = torch_bytes(content).getvalue() if is_torch else safetensors_bytes(name, content)
    with pytest.raises(CheckpointError, match=name):
        read(whole[: place % len(whole)], name)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04}", b"\x08\0\0\0\0\0\0\0{}      "]),
)
def test_random_bytes_are_refused(content: bytes, start: bytes) -> None:
    for name in ("x.pth", "x.safetensors"):
        try:
            found = read(start + content, name)
        except CheckpointError as error:
            assert name in str(error)
        else:  # a whole file of nothing
            assert isinstance(found, dict) and not found


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_digest_belongs_to_its_bytes(content: bytes, more: bytes) -> None:
    end = b"PK\x05\x06" + bytes(18)
    buffer = io.BytesIO(content + end)
    add_digest(buffer)
    assert check_digest(buffer, "x")
    for changed in (more + buffer.getvalue(), buffer.getvalue()[: -len(more) or None]):
        if changed != buffer.getvalue():
            with pytest.raises(CheckpointError):
                check_digest(io.BytesIO(changed), "x")


@given(st.lists(st.integers(0, 9), max_size=20))
def test_numbers_of_numpy_come_back_as_tensors(values: list[int]) -> None:
    found = to_weights_only(np.array(values), lambda path, value: None)
    assert found.tolist() == values
