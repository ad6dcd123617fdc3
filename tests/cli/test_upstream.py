"""Promise: scripts of mmdet and mmseg run on configs and logs of mmattn, as installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmattn.bridge.upstream_scripts import find_script, list_scripts
from mmattn.cli.upstream import parse_args
from mmattn.errors import ConfigError


def upstream(*words: str | Path, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mmattn", "upstream", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_scripts_are_found_by_name() -> None:
    names = list_scripts()
    assert "mmdet::analysis_tools/confusion_matrix.py" in names
    assert "mmseg::analysis_tools/analyze_logs.py" in names
    for name in names:
        assert find_script(name).is_file()
        assert find_script(name.removesuffix(".py")) == find_script(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mmdet::analysis_tools/confusion_matrx", "Did you mean 'mmdet::.*confusion_matrix.py'"),
        ("mmpose::zzz", "mmattn upstream --list"),
        ("/nowhere/at_all.py", "There is no script /nowhere/at_all.py"),
    ],
)
def test_other_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_script(name)


def test_a_file_is_named_with_its_ending_or_without(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", ".py"):
        (tmp_path / name).touch()
    assert find_script("mine.py") == find_script("mine") == Path("mine.py")
    with pytest.raises(ConfigError, match="no script other"):
        find_script("other")


def test_the_words_of_a_script_are_its_own() -> None:
    args = parse_args(["script.py", "--help", "--list", "-x"])
    assert args.script == "script.py" and args.words == ["--help", "--list", "-x"]
    assert not args.list
    for words in ([], ["--list", "script.py"]):
        with pytest.raises(SystemExit):
            parse_args(words)


def test_curves_are_drawn_without_seaborn(tmp_path: Path) -> None:
    log, out = tmp_path / "scalars.json", tmp_path / "curve.png"
    log.write_text(
        "".join(json.dumps({"step": n, "iter": n, "loss": 1 / n}) + "\n" for n in (1, 2))
    )
    done = upstream("mmseg::analysis_tools/analyze_logs", log, "--keys", "loss", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_samples_of_a_detector_are_drawn(repo: Path, shapes_root: Path, tmp_path: Path) -> None:
    """The script imports mmcv's operators before it reads a config."""
    config = repo / "tests/support/configs/tiny_retinanet.py"
    done = upstream(
        "mmdet::analysis_tools/browse_dataset", config, "--not-show", "--output-dir", tmp_path,
        env=os.environ | {"SHAPES_ROOT": str(shapes_root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(tmp_path.glob("*.png")) or list(tmp_path.glob("*.jpg"))
