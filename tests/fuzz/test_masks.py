"""Properties of masks: run lengths, polygons, and label maps that come back as they were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mmattn.boxes.run_lengths import run_length_problem, unpack
from mmattn.boxes.sieve import is_mask
from mmattn.data.folder.classes_file import FolderClasses
from mmattn.data.folder.mask_reader import MaskReader
from mmattn.data.folder.stored_mask import read_mask
from mmattn.data.transforms.instance_masks import StoredInstance, is_usable, stored_bitmap
from mmattn.errors import DataError
from mmattn.evaluation.detection.packed_masks import PackedMasks
from tests.support.fuzzing import scalars, seeds, sides, texts, trees


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("masks")


@st.composite
def bitmaps(draw: Any) -> np.ndarray:
    """Bitmaps (H, W) uint8, from empty to full, of any size from 1 x 1."""
    rng = np.random.default_rng(draw(seeds))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    return (rng.random((draw(sides), draw(sides))) < share).astype(np.uint8)


def encoded(bitmap: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(bitmap))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def run_lengths(bitmap: np.ndarray) -> list[int]:
    """The plain loop: lengths of runs down the columns, zeros first."""
    counts, current = [0], 0
    for value in bitmap.ravel(order="F").tolist():
        if value != current:
            counts.append(0)
            current = value
        counts[-1] += 1
    return counts


# --- run lengths ---------------------------------------------------------------------------------


@given(bitmaps())
def test_packed_run_lengths_are_those_of_the_plain_loop(bitmap: np.ndarray) -> None:
    counts = unpack(encoded(bitmap)["counts"])
    # A text holds differences from the third number on.
    assert counts is not None and counts.tolist() == run_lengths(bitmap)


@given(bitmaps(), st.booleans())
def test_run_lengths_of_an_image_are_a_mask_and_of_another_none(bitmap, packed: bool) -> None:
    mask = encoded(bitmap)
    if not packed:
        mask["counts"] = run_lengths(bitmap)
    height, width = bitmap.shape
    assert run_length_problem(mask, (height, width)) is None and is_mask(mask, (height, width))
    assert run_length_problem(mask, (height + 1, width))
    assert run_length_problem({**mask, "size": [height + 1, width]}, (height + 1, width))


@given(st.one_of(texts, st.binary(max_size=40), st.text("0123:;PQo`@\n", max_size=60)))
def test_any_text_unpacks_or_is_none(text: str | bytes) -> None:
    counts = unpack(text)
    assert counts is None or counts.ndim == 1


@example([None], 1)
@example([["1", "2", "3", "4", "5", "6"]], 8)
@example([dict.fromkeys("abcdef", 1)], 8)
@example([[1, 1, 6, 1, 6.5, True]], 8)
@given(st.one_of(trees(), st.dictionaries(st.sampled_from(["size", "counts"]), trees())), sides)
def test_any_value_is_a_mask_or_none(value: Any, side: int) -> None:
    assert is_mask(value, (side, side)) in (True, False)
    assert is_usable(value) in (True, False)
    if is_usable(value) and not isinstance(value, dict):
        StoredInstance(value, (side, side), np.eye(3)).bitmap((side, side))
    if isinstance(value, dict):
        assert isinstance(run_length_problem(value, (side, side)), (str, type(None)))


@given(bitmaps())
def test_every_way_of_storing_a_bitmap_draws_it(bitmap: np.ndarray) -> None:
    size = bitmap.shape
    packed = encoded(bitmap)
    plain = {**packed, "counts": run_lengths(bitmap)}
    for stored in (bitmap, packed, {**packed, "counts": packed["counts"].encode()}, plain):
        np.testing.assert_array_equal(stored_bitmap(stored, size), bitmap)
        drawn = StoredInstance(stored, size, np.eye(3)).bitmap(size)
        np.testing.assert_array_equal(drawn, bitmap.astype(bool))


@given(st.lists(bitmaps(), max_size=5), seeds)
def test_packed_masks_come_back(masks: list[np.ndarray], seed: int) -> None:
    if masks:
        masks = [np.resize(mask, masks[0].shape) for mask in masks]
    stored = [encoded(mask) for mask in masks]
    assert PackedMasks.can_hold(stored)
    packed = PackedMasks(stored)
    assert len(packed) == len(stored) and list(packed) == stored
    assert packed[1:3] == stored[1:3]
    if stored:
        place = seed % len(stored)
        assert packed[place] == packed[place - len(stored)] == stored[place]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(2, 40), st.integers(2, 40))
def test_a_rectangle_as_polygon_fills_its_pixels(x: int, y: int, w: int, h: int) -> None:
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    drawn = StoredInstance(polygon, (97, 97), np.eye(3)).bitmap((97, 97))
    expected = np.zeros((97, 97), bool)
    expected[y : y + h, x : x + w] = True
    np.testing.assert_array_equal(drawn, expected)


# --- label maps ----------------------------------------------------------------------------------


@given(seeds, sides, sides, st.sampled_from(["bool", "uint8", "uint16", "int32", "float32"]))
def test_a_label_map_comes_back_as_it_was_saved(folder, seed, height, width, dtype) -> None:
    most = {"bool": 2, "uint8": 256, "uint16": 65536}.get(dtype, 2**24)
    values = np.random.default_rng(seed).integers(0, most, (height, width)).astype(dtype)
    path = str(folder / ("a.tif" if dtype in ("int32", "float32") else "a.png"))
    if dtype == "uint16":
        assert cv2.imwrite(path, values)
    else:
        Image.fromarray(values).save(path)
    mask = read_mask(path)
    assert mask.shape == (height, width)
    np.testing.assert_array_equal(mask.grey(), values)


@given(seeds, sides, sides, st.integers(1, 256))
def test_a_palette_gives_its_indices_and_its_colours(folder, seed, height, width, count) -> None:
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, count, (height, width), np.uint8)
    palette = rng.integers(0, 256, (count, 3), np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.ravel().tolist())
    image.save(folder / "p.png")
    mask = read_mask(str(folder / "p.png"))
    np.testing.assert_array_equal(mask.grey(), indices)
    np.testing.assert_array_equal(mask.rgb(), palette[indices])


@given(seeds, sides, sides, st.sampled_from(["RGB", "RGBA", "LA"]))
def test_colours_and_alpha_come_back(folder, seed, height, width, mode) -> None:
    bands = len(mode)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, bands), np.uint8)
    Image.fromarray(pixels, mode if mode == "LA" else None).save(folder / "c.png")
    mask = read_mask(str(folder / "c.png"))
    if mode == "LA":
        np.testing.assert_array_equal(mask.grey(), pixels[..., 0])
    else:
        np.testing.assert_array_equal(mask.rgb(), pixels[..., :3])
    if "A" in mode:
        np.testing.assert_array_equal(mask.alpha, pixels[..., -1])
        assert mask.is_see_through == bool((pixels[..., -1] != 255).any())


@given(st.sets(st.integers(0, 254), min_size=1, max_size=8), seeds, sides, sides)
def test_labels_are_those_of_the_values_and_others_are_refused(
    folder: Path, values: set[int], seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(sorted(values)).tolist()
    classes = FolderClasses(
        tuple(f"class {value}" for value in order),
        values={value: label for label, value in enumerate(order)},
        source="classes.json",
    )
    stored = rng.choice([*order, 255], (height, width)).astype(np.uint8)
    Image.fromarray(stored).save(folder / "l.png")
    labels = MaskReader("index", classes)(str(folder / "l.png"))
    expected = np.full(stored.shape, 255, np.uint8)
    for label, value in enumerate(order):
        expected[stored == value] = label
    np.testing.assert_array_equal(labels, expected)

    stranger = next(value for value in range(256) if value not in values)
    stored[rng.integers(height), rng.integers(width)] = stranger
    Image.fromarray(stored).save(folder / "l.png")
    with pytest.raises(DataError, match=rf"l\.png holds {stranger}"):
        MaskReader("index", classes)(str(folder / "l.png"))
    ignoring = MaskReader("index", classes, unknown_values="ignore")(str(folder / "l.png"))
    assert (ignoring[stored == stranger] == 255).all()


@given(st.binary(max_size=60), scalars)
def test_bytes_that_are_no_image_are_refused(folder: Path, content: bytes, _) -> None:
    (folder / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.png"):
        read_mask(str(folder / "x.png"))
