"""Images that training and validation share: the same file, an equal one, or nearly the same.

Near copies are found by a difference hash: the image is scaled to 17 x 16 grey pixels, and each bit
tells whether a pixel is brighter than its right neighbour. Copies that were scaled or compressed
anew differ in a few of the 256 bits.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable, Sequence

import numpy as np

from mmattn.boxes import Finding, Place
from mmattn.images import read_image

#: Bits of the hash in which copies may differ.
_NEAR = 10
#: Bits that a hash must have set: images of one colour are all alike.
_LEAST = 16
_ROWS, _COLUMNS = 16, 16
_DEEPEST = 16
_CHUNK = 512
#: Bytes by which files of equal size are told apart before all of them is read.
_COMPARED = 4096


def shared_images(
    train: Sequence[str], other: Sequence[str], split: str, *, near: bool = False
) -> list[Finding]:
    """Return the images of a split that training has too.

    Args:
        train: Paths of the images of training.
        other: Paths of the images of the split.
        split: Name of the split, used in messages.
        near: Compare what the images show as well, which reads all of them.
    """
    trained = {os.path.realpath(path): path for path in train}
    same = [path for path in other if os.path.realpath(path) in trained]
    findings = []
    if same:
        findings.append(
            Finding(
                "image-in-both",
                f"images of {split} that training has too, so that results look better than they "
                "are",
                tuple(map(Place, same)),
            )
        )
    left = [path for path in other if os.path.realpath(path) not in trained]
    copies = equal_files(train, left)
    if copies:
        findings.append(
            Finding(
                "copy-in-both",
                f"images of {split} whose file is a copy of one of training",
                tuple(Place(path, f"a copy of {twin}") for path, twin in copies.items()),
            )
        )
    if near:
        left = [path for path in left if path not in copies]
        alike = near_copies(train, left)
        if alike:
            findings.append(
                Finding(
                    "near-copy-in-both",
                    f"images of {split} that look like one of training: frames of one film or "
                    "slices of one scan belong into one split",
                    tuple(Place(path, f"like {twin}") for path, twin in alike.items()),
                )
            )
    return findings


def equal_files(first: Iterable[str], second: Iterable[str]) -> dict[str, str]:
    """Return files of ``second`` -> the equal file of ``first``.

    Files of equal size are read, their beginnings first.
    """
    by_size: dict[int, list[str]] = {}
    for path in first:
        by_size.setdefault(os.path.getsize(path), []).append(path)
    starts: dict[int, dict[bytes, list[str]]] = {}
    found = {}
    for path in second:
        size = os.path.getsize(path)
        if size not in starts:
            starts[size] = {}
            for twin in by_size.get(size, ()):
                starts[size].setdefault(_start(twin), []).append(twin)
        twins = starts[size].get(_start(path), ()) if starts[size] else ()
        twin = next((one for one in twins if filecmp.cmp(path, one, shallow=False)), None)
        if twin is not None:
            found[path] = twin
    return found


def near_copies(first: Sequence[str], second: Sequence[str]) -> dict[str, str]:
    """Return images of ``second`` -> the image of ``first`` that shows nearly the same."""
    one, ones = _hashes(first)
    two, twos = _hashes(second)
    found: dict[str, str] = {}
    if not len(ones) or not len(twos):
        return found
    for start in range(0, len(twos), _CHUNK):
        # Bits that differ: |a| + |b| - 2 a.b, as one product.
        part = twos[start : start + _CHUNK].astype(np.float32)
        whole = ones.astype(np.float32)
        differing = part.sum(1)[:, None] + whole.sum(1)[None] - 2 * part @ whole.T
        nearest = differing.argmin(1)
        for row, column in enumerate(nearest):
            if differing[row, column] <= _NEAR:
                found[two[start + row]] = one[column]
    return found


def difference_hash(image: np.ndarray) -> np.ndarray:
    """Return the 256 bits of an image.

    Args:
        image: (H, W, 3) or (H, W).

    Returns:
        (256,) bool.
    """
    import cv2

    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_COLUMNS + 1, _ROWS), interpolation=cv2.INTER_AREA).astype(int)
    return (small[:, 1:] > small[:, :-1]).reshape(-1)


def _hashes(paths: Sequence[str]) -> tuple[list[str], np.ndarray]:
    kept, bits = [], []
    for path in paths:
        # Any depth will do: brighter stays brighter.
        found = difference_hash(read_image(path, bit_depth=_DEEPEST))
        if _LEAST <= found.sum() <= len(found) - _LEAST:
            kept.append(path)
            bits.append(found)
    return kept, np.array(bits, bool).reshape(len(kept), _ROWS * _COLUMNS)


def _start(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_COMPARED)
