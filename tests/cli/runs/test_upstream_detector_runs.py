"""Promise: a run of plain mmdet is resumed and tested without a flag, and nothing of it is lost."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmattn.config import load_config
from mmattn.io import read_checkpoint
from tests.support.comparison_configs import RETINANET
from tests.support.plain_detection import run_plain_detection
from tests.support.same import assert_equal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of a RetinaNet that mmdet trained for four epochs of two steps.

    With averaged weights, and a warm-up by steps that goes on when the second epoch ends.
    """
    folder = tmp_path_factory.mktemp("plain_retinanet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes))
        cfg = load_config(RETINANET)
    cfg.work_dir = str(folder / "run")
    cfg.train_cfg.max_epochs = 4
    cfg.custom_hooks = [{"type": "EMAHook", "momentum": 0.1}]
    cfg.default_hooks.checkpoint = {"type": "CheckpointHook", "interval": 1}
    cfg.default_hooks.checkpoint["save_best"] = "coco/bbox_mAP"
    cfg.optim_wrapper.clip_grad = {"max_norm": 10.0, "norm_type": 2}
    cfg.param_scheduler = [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 6},
        {"type": "MultiStepLR", "milestones": [3], "begin": 0, "end": 4, "by_epoch": True},
    ]
    # After eight steps no score is high; all are kept, or there would be nothing to compare.
    cfg.model.test_cfg.update(score_thr=0.0, max_per_img=20)
    text = cfg.pretty_text
    assert "mmattn" not in text, "plain mmdet could not build it"
    (folder / "retinanet.py").write_text(text)
    run_plain_detection(folder / "retinanet.py", folder / "predictions.pkl")
    return folder


def test_the_file_is_one_of_objects(plain: Path) -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(plain / "run" / "epoch_2.pth", weights_only=True)


def test_it_is_resumed_to_the_same_end(plain: Path, run: Callable[..., None], tmp_path) -> None:
    """Two epochs by mmdet and two with mmattn, and four by mmdet, give the same file.

    But for the score of the validation behind the second epoch: mmengine saves before it validates.
    """
    work_dir = tmp_path / "run"
    work_dir.mkdir()
    shutil.copy(plain / "run" / "epoch_2.pth", work_dir)
    (work_dir / "last_checkpoint").write_text(str(plain / "run" / "epoch_2.pth"))
    run("train", plain / "retinanet.py", "--work-dir", work_dir, "--resume")
    assert not (work_dir / "epoch_1.pth").exists(), "it went on, it did not start anew"
    resumed, whole = (read_checkpoint(p / "epoch_4.pth") for p in (work_dir, plain / "run"))
    for key in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
        assert_equal(resumed[key], whole[key], key)
    for name in ("epoch", "iter"):
        assert resumed["meta"][name] == whole["meta"][name]
    logs, infos = (
        [content["message_hub"][part] for content in (resumed, whole)]
        for part in ("log_scalars", "runtime_info")
    )
    assert set(logs[1]) <= set(logs[0])
    for name in set(logs[1]) - {"train/time", "train/data_time"}:  # clocks are never the same twice
        if name.startswith("train/"):
            assert_equal(logs[0][name], logs[1][name], name)
    scores, whole_scores = (log["val/coco/bbox_mAP"]["log_history"].tolist() for log in logs)
    assert scores == [whole_scores[0], *whole_scores[2:]]
    for name in ("epoch", "iter", "max_epochs", "max_iters", "best_score"):
        assert infos[0][name] == infos[1][name], name


def test_what_is_resumed_is_not_trivial(plain: Path) -> None:
    """Otherwise the test above would show little."""
    middle, end = (read_checkpoint(plain / "run" / f"epoch_{n}.pth") for n in (2, 4))
    warm_up, steps = middle["param_schedulers"]
    assert warm_up["last_step"] == 4, "of the six of its warm-up"
    assert steps["last_step"] == 2
    assert middle["optimizer"]["state"]
    name = "bbox_head.retina_cls.weight"
    assert not torch.equal(middle["state_dict"][name], end["state_dict"][name])
    assert not torch.equal(end["state_dict"][name], end["ema_state_dict"][f"module.{name}"])


def test_it_is_tested_with_the_predictions_of_mmdet(plain: Path, run, tmp_path) -> None:
    """mmdet's own are those of the averaged weights, with torchvision's suppression of boxes."""
    out = tmp_path / "found.pkl"
    checkpoint = plain / "run" / "epoch_4.pth"
    run("test", plain / "retinanet.py", checkpoint, "--work-dir", tmp_path, "--out", out)
    ours, theirs = (pickle.loads(p.read_bytes()) for p in (out, plain / "predictions.pkl"))
    assert len(ours) == len(theirs) == 4
    for our, their in zip(ours, theirs, strict=True):
        assert our["img_id"] == their["img_id"]
        found, wanted = our["pred_instances"], their["pred_instances"]
        assert len(wanted["scores"]) == 20
        torch.testing.assert_close(found["scores"], wanted["scores"])
        torch.testing.assert_close(found["bboxes"], wanted["bboxes"])
        assert torch.equal(found["labels"], wanted["labels"])
