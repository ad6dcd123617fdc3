"""A tiny generated dataset, shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.data.shapes import write_shapes_dataset


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight train and four val images of 96 x 128 pixels; half of them hold a crowd region."""
    root = tmp_path_factory.mktemp("shapes") / "set"
    return write_shapes_dataset(
        root, num_train=8, num_val=4, size=(96, 128), seed=3, crowd_probability=0.5
    )
