"""The wheel: one top-level package with configs and tools, which works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from mmattn.cli import COMMANDS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = Path(__file__).resolve().parents[2]
    out = tmp_path_factory.mktemp("wheel")
    # Built from an export of the tracked files, as a release would be.
    source = tmp_path_factory.mktemp("source")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=repo, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
    uv = Path(sys.executable).with_name("uv")
    # The wheel is built from the source distribution, so that this one is whole is proven too.
    subprocess.run([uv, "build", "--out-dir", out, source], check=True)
    return next(out.glob("*.whl"))


def test_top_level_is_mmattn_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info" not in n} == {"mmattn"}
    assert "mmattn/projects/ccnet/head.py" in names
    assert "mmattn/ops/criss_cross/reference.py" in names
    assert "mmattn/.mim/tools/train.py" in names
    assert "mmattn/.mim/model-index.yml" in names
    assert "mmattn/weights/weights.yml" in names
    assert any(n.startswith("mmattn/.mim/configs/ccnet/") and n.endswith(".py") for n in names)
    assert "mmattn/.mim/configs/ccnet/metafile.yml" in names
    assert not [n for n in names if n.endswith((".so", ".o"))], "built apart from torch: it is pure"


def test_only_what_users_need_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "mmattn/py.typed" in names, "type checkers read our annotations"
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & {"tests", "support", "benchmarks", "docs", "requirements"}
    # The contracts that a user's own block is tested with, and nothing that tests this repository.
    assert {name for name in names if name.startswith("mmattn/testing/")} == {
        f"mmattn/testing/{name}.py"
        for name in (
            "__init__",
            "golden",
            "mixer",
            "module_costs",
            "op_tester",
            "plugin",
            "plugin_hosts",
        )
    }


def test_extras_and_the_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (folder,) = {n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n}
    metadata = archive.read(f"{folder}/METADATA").decode()
    extras = {line.split(": ")[1] for line in metadata.splitlines() if "Provides-Extra" in line}
    assert extras == {"export", "mmpretrain", "openvino", "testing"}
    assert 'pytest; extra == "testing"' in metadata
    entries = archive.read(f"{folder}/entry_points.txt").decode()
    assert "mmattn = mmattn.cli.main:main" in entries


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and without its dependencies; returns its folder."""
    uv = Path(sys.executable).with_name("uv")
    folder = tmp_path_factory.mktemp("installed") / "env"
    subprocess.run([uv, "venv", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--python", python, "--no-deps", wheel], check=True)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_and_tools_of_the_wheel_run(name: str, installed: Path, tmp_path: Path) -> None:
    site = next(installed.glob("lib/python*/site-packages"))
    tool = [installed / "bin" / "python", site / "mmattn" / ".mim" / "tools" / f"{name}.py"]
    for command in ([installed / "bin" / "mmattn", name], tool):
        done = subprocess.run(
            [*command, "--help"], capture_output=True, text=True, cwd=tmp_path, env={}
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("usage:") and "examples:" in done.stdout


def test_installed_wheel_builds_models(installed: Path, tmp_path: Path) -> None:
    """In a fresh environment, which borrows the dependencies, names and configs resolve."""
    python = installed / "bin" / "python"
    site = next(installed.glob("lib/python*/site-packages"))
    # Plain path entries add the dependencies without the editable install of the checkout.
    code = (
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
        "import mmattn; from pathlib import Path\n"
        f"assert Path(mmattn.__file__).is_relative_to({str(site)!r}), mmattn.__file__\n"
        "from mmattn.config import load_config\n"
        "from mmattn.inference import build_model\n"
        "cfg = load_config('mmattn::ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py')\n"
        f"assert Path(load_config('yolov12-n').filename).is_relative_to({str(site)!r})\n"
        "print(type(build_model(cfg).decode_head).__module__)\n"
        "from mmdet.registry import MODELS\n"
        "MODELS.build(dict(type='mmdet.ResNet', depth=50, plugins=[dict("
        "cfg=dict(type='mmattn.CrissCrossAttention'), stages=(False, False, False, True),"
        "position='after_conv3')]))\n"
    )
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=own
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "mmattn.projects.ccnet.head"


def test_a_model_is_trained_by_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The commands of the wheel, away from the checkout: two iterations on drawn shapes."""
    # The dependencies are borrowed; a folder on PYTHONPATH brings no editable install along.
    own = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "OMP_NUM_THREADS": "1"}

    def mmattn(line: str) -> str:
        done = subprocess.run(
            [installed / "bin" / "mmattn", *line.split()],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=own,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    assert "yolov12-n" in mmattn("models")
    mmattn("data shapes data/shapes --num-train 4 --num-val 2 --size 64 96")
    mmattn(
        "train ccnet data_root=data/shapes train_cfg.max_iters=2 train_cfg.val_interval=2 "
        "train_dataloader.batch_size=2 train_dataloader.num_workers=0 "
        "train_dataloader.persistent_workers=False model.backbone.init_cfg=None --work-dir run"
    )
    assert list((tmp_path / "run").glob("iter_2.pth"))
