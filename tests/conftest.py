"""What every test may ask for."""

from __future__ import annotations

import os

# Before torch is imported: tests run in several processes, whose threads would only wait for each
# other. Processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path

import pytest

import mmattn  # noqa: F401  (turns the bridge on before any test imports mmcv)

REPO = Path(__file__).resolve().parents[1]


def pytest_report_header() -> list[str]:
    """Which backends the tests run on; ``make test`` works without a compiler, and says so."""
    from mmattn.environment import backends

    return [f"{name}: {value}" for name, value in backends().items()]


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of small real datasets, which is not part of the repository."""
    root = Path(os.environ.get("MMATTN_SHARED_DATA", REPO.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root} (set MMATTN_SHARED_DATA)")
    return root


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight train and four val images of 96 x 128 pixels; half of them hold a crowd region."""
    from mmattn.data.shapes import write_shapes_dataset

    root = tmp_path_factory.mktemp("shapes") / "set"
    return write_shapes_dataset(
        root, num_train=8, num_val=4, size=(96, 128), seed=3, crowd_probability=0.5
    )


@pytest.fixture(autouse=True)
def own_scope() -> Iterator[None]:
    """No default scope is left from another test or a fixture: names must resolve by themselves."""
    from mmengine.registry import DefaultScope

    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()
