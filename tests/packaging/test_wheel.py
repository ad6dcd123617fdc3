"""The wheel: one top-level package with configs and tools, which works without the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

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
    assert any(n.startswith("mmattn/.mim/configs/ccnet/") and n.endswith(".py") for n in names)


def test_installed_wheel_builds_models(wheel: Path, tmp_path: Path) -> None:
    """In a fresh environment, which borrows the dependencies, names and configs resolve."""
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--python", sys.executable, tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--python", python, "--no-deps", wheel], check=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    # Plain path entries add the dependencies without the editable install of the checkout.
    code = (
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
        "import mmattn; from pathlib import Path\n"
        f"assert Path(mmattn.__file__).is_relative_to({str(site)!r}), mmattn.__file__\n"
        "from mmattn.config import load_config\nfrom mmattn.inference import build_model\n"
        "cfg = load_config('mmattn::ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py')\n"
        "print(type(build_model(cfg).decode_head).__module__)\n"
        "from mmdet.registry import MODELS\n"
        "MODELS.build(dict(type='mmdet.ResNet', depth=50, plugins=[dict("
        "cfg=dict(type='mmattn.CrissCrossAttention'), stages=(False, False, False, True),"
        "position='after_conv3')]))\n"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "mmattn.projects.ccnet.head"
