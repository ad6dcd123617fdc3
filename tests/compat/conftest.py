"""An environment with the original OpenMMLab packages, built once per set of pins."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PINS = REPO / "requirements" / "originals.txt"
BUILD_PINS = REPO / "requirements" / "originals-build.txt"
OVERRIDES = REPO / "requirements" / "overrides.txt"
# What installers say when they cannot reach the index, in whatever words they do.
_UNREACHABLE = ("error sending request", "dns error", "network is unreachable", "timed out")
_TEST_TOOLS = ("pytest",)


@pytest.fixture(scope="session")
def original_python() -> Path:
    """The interpreter of the environment, which is built first if need be.

    It lies in the user's cache, under a key of the pins and of Python's version; a second run
    takes it as it is. Skips the test where the package index cannot be reached.
    """
    uv = find_uv()
    folder = cache_folder() / _key()
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return python
    _run([uv, "venv", "--clear", "--python", sys.executable, folder])
    env = {key: value for key, value in os.environ.items() if key != "MMCV_WITH_OPS"}
    # The tests' own tools have their versions from the same file, by its constraint.
    install = [uv, "pip", "install", "--python", python, "--override", OVERRIDES]
    _run([*install, "--build-constraint", BUILD_PINS, "-r", PINS, *_TEST_TOOLS], env)
    ready.touch()
    return python


def find_uv() -> str:
    """The uv beside this Python, or that of the system; none is a reason to skip."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv, which builds the environment, is not installed")
    return found


def cache_folder() -> Path:
    """Where such environments are kept; each takes some GB."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "mmattn" / "original_packages"


def _key() -> str:
    pins = b"".join(
        path.read_bytes() for path in (PINS, BUILD_PINS, OVERRIDES, REPO / "requirements.txt")
    )
    digest = hashlib.sha256(pins + sys.version.encode()).hexdigest()[:12]
    return f"python{sys.version_info.major}.{sys.version_info.minor}-{digest}"


def _run(command: list, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True)
    if done.returncode == 0:
        return
    if any(words in done.stderr.lower() for words in _UNREACHABLE):
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip().splitlines()[-1]}")
    pytest.fail(f"{' '.join(map(str, command))}\n{done.stderr}", pytrace=False)
