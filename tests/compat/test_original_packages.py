"""The promised configs build, train and predict with the original packages as with the forks.

mmengine, mmcv, mmdet and mmseg of OpenMMLab have the import names of the forks, so they live in an
environment of their own, which the first run builds with uv (requirements/originals.txt).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.upstream_configs import CASES

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def run(repo: Path, original_python: Path) -> Run:
    """Runs the originals' Python with the checkout in front."""
    env = os.environ | {"PYTHONPATH": str(repo)}

    def call(*args: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [original_python, *args], env=env, cwd=repo, capture_output=True, text=True
        )

    return call


def test_the_doctor_names_the_originals_alone(run: Run) -> None:
    code = (
        "from mmattn.ops._families import describe_families; print(*describe_families(), sep='\\n')"
    )
    (line,) = run("-c", code).stdout.splitlines()
    assert line.startswith("OpenMMLab packages, the originals: mmengine 0.10.7, mmcv")
    assert line.endswith("2.2.0, mmdet 3.3.0, mmsegmentation 1.2.2")


@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_without_the_bridge_they_refuse_each_other(run: Run, package: str) -> None:
    """What the bridge lets pass is real: without it the import fails, with it a line says so."""
    bare = run("-c", f"import {package}")
    assert bare.returncode != 0
    assert "MMCV==2.2.0 is used but incompatible" in bare.stderr
    bridged = run("-c", f"import mmattn, {package}, mmcv; print(mmcv.__version__)")
    assert bridged.returncode == 0, bridged.stderr
    said, version = bridged.stdout.splitlines()
    assert f"{package} " in said and "asks for an older mmcv than 2.2.0" in said
    assert version == "2.2.0"


def test_every_config_builds_trains_and_predicts(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = run("-m", "tests.support.write_compatibility", "--out", str(page))
    verdicts = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ".py: " in line)
    assert verdicts == {case.config: "ok" for case in CASES}, done.stderr
    assert done.returncode == 0
    assert "mmdet 3.3.0" in page.read_text()


def test_the_bridge_passes_its_tests(run: Run) -> None:
    """Weights are never unpickled, packages are found, plugins work: with either family."""
    done = run("-m", "pytest", "tests/bridge", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-4000:]
