"""Promise: the parity of instances counts what either program lacks, and each object once."""

from __future__ import annotations

import numpy as np
import pytest

from mmattn.export.tasks.instance import InstanceParity

Objects = dict[str, np.ndarray]


def objects(*rows: tuple[int, float, int]) -> Objects:
    """An image of 8 x 8 with a row for each (class, score, first column of a mask 4 wide)."""
    masks = np.zeros((1, len(rows), 8, 8), bool)
    for index, (_, _, column) in enumerate(rows):
        masks[0, index, :, column : column + 4] = True
    labels, scores = ([row[part] for row in rows] for part in (0, 1))
    return {
        "labels": np.array([labels], np.int64),
        "scores": np.array([scores], np.float32),
        "masks": masks,
    }


def agreement(file: Objects, torch: Objects) -> float:
    measure = InstanceParity()
    measure.add(file, torch)
    return measure.agreement


TORCH = objects((0, 0.9, 0), (1, 0.5, 4), (-1, -1.0, 0))


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (objects((1, 0.5004, 4), (0, 0.9, 0)), 1.0),
        (objects((0, 0.9, 0)), 2 / 3),
        (objects((0, 0.9, 0), (1, 0.5, 4), (0, 0.7, 2)), 4 / 5),
        (objects((0, 0.9, 0), (0, 0.9, 0), (1, 0.5, 4)), 4 / 5),  # one twice
        (objects((0, 0.9, 0), (1, 0.502, 4)), 2 / 4),
        (objects((0, 0.9, 0), (1, 0.5, 3)), 2 / 4),
        (objects((0, 0.9, 0), (0, 0.5, 4)), 2 / 4),
        (objects((0, float("nan"), 0), (1, 0.5, 4)), 2 / 4),
        (objects(), 0.0),
    ],
    ids=["same", "less", "more", "twice", "score", "mask", "class", "nan", "none"],
)
def test_agreement(file: Objects, expected: float) -> None:
    assert agreement(file, TORCH) == pytest.approx(expected)


def test_the_best_mask_is_the_partner() -> None:
    """Two of a class with near scores: taking the first that is near would leave one alone."""
    torch, file = (objects((0, 0.9, 0), (0, 0.9, 1)) for _ in range(2))
    torch["masks"][0, 0, 0, :] = True
    file = {name: values[:, ::-1].copy() for name, values in torch.items()}
    assert agreement(file, torch) == 1.0


def test_no_objects_on_either_side_agree() -> None:
    assert agreement(objects(), objects((-1, -1.0, 0))) == 1.0
