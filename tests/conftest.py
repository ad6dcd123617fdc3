"""What every test may ask for."""

from __future__ import annotations

import os

# Before torch is imported: tests run in several processes, whose threads would only wait for each
# other. Processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gc
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import mmattn  # noqa: F401  (turns the bridge on before any test imports mmcv)
from tests.support.shared_data import REPO, SHARED_DATA


def pytest_report_header() -> list[str]:
    """Which backends the tests run on; ``make test`` works without a compiler, and says so."""
    from mmattn.environment import backends

    return [f"{name}: {value}" for name, value in backends().items()]


def pytest_collection_finish() -> None:
    _leave_what_lives_on()


@pytest.hookimpl(trylast=True)  # when the fixtures of the file are gone, which would stay for ever
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        _leave_what_lives_on()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # extensions that count their objects at the end would tell of leaks


def _leave_what_lives_on() -> None:
    """Take imported modules and collected tests out of the search for garbage.

    mmengine searches whenever it has built a dataset, which takes a second among the objects of
    eleven thousand tests.
    """
    gc.collect()
    gc.freeze()


#: What mmattn sets, for torch, when a launcher has started it.
_OF_A_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def _no_launcher_is_left() -> Iterator[None]:
    """Put back what a launcher sets, with which the next test is one of several processes."""
    before = {name: os.environ.get(name) for name in _OF_A_LAUNCHER}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def checkout_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a checkout with more files in it: ``(files, appended) -> root``.

    ``files`` are texts by path, ``appended`` texts that are added to the end of existing files.
    Everything else is linked.
    """

    def make(files: Mapping[str, str], appended: Mapping[str, str] = {}) -> Path:
        root = tmp_path_factory.mktemp("checkout")
        changed = {Path(name) for name in (*files, *appended)}
        for folder in (".", "mmattn", *sorted({str(p) for c in changed for p in c.parents})):
            if (REPO / folder).is_dir():
                _link_entries(REPO / folder, root / folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        for name, text in appended.items():
            before = (REPO / name).read_text(encoding="utf-8")
            (root / name).unlink()
            (root / name).write_text(before + text, encoding="utf-8")
        return root

    return make


def _link_entries(folder: Path, copy: Path) -> None:
    """Make ``copy`` a folder of links to the entries of ``folder``; relative links are copied."""
    if copy.is_symlink():
        copy.unlink()
    copy.mkdir(exist_ok=True)
    for entry in sorted(folder.iterdir()):
        target = copy / entry.name
        if entry.name in ("__pycache__", ".git", ".venv", "work_dirs") or target.exists():
            continue
        if entry.is_symlink():
            shutil.copy(entry, target, follow_symlinks=False)
        else:
            target.symlink_to(entry)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str, int, int], None]:
    """Record what ``tools/reliability.py`` adds up: ``(goal, passed, of)``."""

    def record(goal: str, passed: int, of: int) -> None:
        # As ``record_property`` does, which warns of a form of reports that has no properties.
        request.node.user_properties.append(("reliability", f"{goal}: {passed} of {of}"))
        assert passed == of, f"{goal}: {passed} of {of}"

    return record


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of small real datasets, which is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA} (set MMATTN_SHARED_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training and 4 validation images of 64 x 96 pixels, with every kind of annotation."""
    from mmattn.data.shapes import write_shapes_dataset

    root = tmp_path_factory.mktemp("shapes")
    write_shapes_dataset(root, num_train=8, num_val=4, size=(64, 96), seed=0)
    return root


@pytest.fixture
def shapes_environment(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny configs of ``tests/support/configs`` find their images and be run in a row."""
    monkeypatch.setenv("SHAPES_ROOT", str(shapes))
    # mmengine keeps the logger of an earlier run, whose captured output is closed by now.
    monkeypatch.setattr(logging, "raiseExceptions", False)


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
