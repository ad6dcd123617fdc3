"""Promise: a run of plain mmseg is tested, predicted, exported and resumed without a flag."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmattn.config import load_config
from mmattn.io import read_checkpoint
from tests.support.comparison_configs import FCN
from tests.support.same import assert_equal

pytestmark = pytest.mark.slow

TRAIN = """
import sys
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.utils import register_all_modules

register_all_modules()
Runner.from_cfg(Config.fromfile(sys.argv[1])).train()
assert "mmattn" not in sys.modules
"""


@pytest.fixture(scope="module")
def plain(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of an FCN that mmseg trained for eight steps, without mmattn.

    With averaged weights, and a warm-up of six steps.
    """
    folder = tmp_path_factory.mktemp("plain_fcn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes))
        cfg = load_config(FCN)
    cfg.work_dir = str(folder / "run")
    cfg.custom_hooks = [{"type": "EMAHook", "momentum": 0.1}]
    warm_up = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6}
    cfg.param_scheduler = [warm_up, *cfg.param_scheduler]
    cfg.dataset_type = "BaseSegDataset"
    names = [f"class {number}" for number in range(10)]
    palette = [[number * 20] * 3 for number in range(10)]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.type = "BaseSegDataset"
        loader.dataset.metainfo = {"classes": names, "palette": palette}
    text = cfg.pretty_text
    assert "mmattn" not in text, "plain mmseg could not build it"
    (folder / "fcn.py").write_text(text)
    command = [sys.executable, "-c", TRAIN, folder / "fcn.py"]
    subprocess.run(command, check=True, cwd=folder)
    return folder


def test_the_file_is_one_of_objects(plain: Path) -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(plain / "run" / "iter_8.pth", weights_only=True)


@pytest.mark.slow
def test_it_is_tested_with_the_score_of_its_training(plain, run, tmp_path) -> None:
    run("test", plain / "fcn.py", plain / "run" / "iter_4.pth", "--work-dir", tmp_path)
    (file,) = tmp_path.glob("*/*.json")
    score = json.loads(file.read_text())["mIoU"]
    scalars = read_checkpoint(plain / "run" / "iter_8.pth")["message_hub"]["log_scalars"]
    # Of step 4, since a checkpoint is written before the validation of its step.
    in_training = scalars["val/mIoU"]["log_history"].tolist()[0]
    assert score == pytest.approx(in_training, abs=0.005)  # mmseg rounds to two digits


def test_it_predicts(plain, run, tmp_path, shapes) -> None:
    image = next((shapes / "images" / "val").iterdir())
    run("predict", plain / "fcn.py", plain / "run" / "iter_8.pth", image, "--out", tmp_path)
    assert list(tmp_path.rglob("*.png"))


@pytest.mark.slow
def test_it_is_exported(plain, run, tmp_path) -> None:
    out = tmp_path / "fcn.onnx"
    checkpoint = plain / "run" / "iter_8.pth"
    run("export", plain / "fcn.py", checkpoint, "--out", out, "--num-images", "1")
    assert out.is_file()


def test_it_is_resumed_to_the_same_weights(plain, run, tmp_path) -> None:
    work_dir = tmp_path / "run"
    work_dir.mkdir()
    shutil.copy(plain / "run" / "iter_4.pth", work_dir)
    (work_dir / "last_checkpoint").write_text(str(plain / "run" / "iter_4.pth"))
    run("train", plain / "fcn.py", "--work-dir", work_dir, "--resume")
    resumed, whole = (read_checkpoint(p / "iter_8.pth") for p in (work_dir, plain / "run"))
    for key in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
        assert_equal(resumed[key], whole[key], key)
    for name in ("epoch", "iter"):
        assert resumed["meta"][name] == whole["meta"][name]
    hubs = [content["message_hub"] for content in (resumed, whole)]
    assert_equal(*(hub["log_scalars"]["train/loss"] for hub in hubs))
    scores = [hub["runtime_info"]["best_score"] for hub in hubs]
    assert scores[0] == pytest.approx(scores[1], abs=0.005)  # mmseg rounds to two digits
    warm_up, _ = read_checkpoint(plain / "run" / "iter_4.pth")["param_schedulers"]
    assert warm_up["last_step"] == 4, "it was resumed within the warm-up"
