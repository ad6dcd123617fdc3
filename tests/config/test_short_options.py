"""Promise: ``epochs=``, ``iters=``, ``batch=``, ``lr=`` and ``workers=`` set what one means."""

from __future__ import annotations

import logging

import pytest

from mmattn.config import load_config
from mmattn.config.options import parse_cfg_options
from mmattn.config.short_options import set_epochs
from mmattn.errors import ConfigError
from mmattn.preflight.run import check_config

SEGMENTOR = "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
DETECTOR = "mmattn::folder/yolov12-n_1xb16-100e_folder-640x640.py"
BY_EPOCHS = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"


def loaded(name: str, *words: str):
    return load_config(name, parse_cfg_options(list(words)))


def test_iters_keep_the_shape_of_the_schedule(caplog) -> None:
    before = loaded(SEGMENTOR)
    with caplog.at_level(logging.INFO, "mmattn"):
        cfg = loaded(SEGMENTOR, "iters=200")
    assert before.train_cfg.max_iters == 2000 and cfg.train_cfg.max_iters == 200
    assert cfg.train_cfg.val_interval == before.train_cfg.val_interval / 10
    for old, new in zip(before.param_scheduler, cfg.param_scheduler, strict=True):
        assert new["end"] == pytest.approx(old["end"] / 10)
    assert cfg.default_hooks.checkpoint.interval == before.default_hooks.checkpoint.interval / 10
    assert "train_cfg.max_iters 2000 -> 200" in caplog.text
    check_config(cfg, ("train", "val"))


def test_epochs_scale_drops_warm_up_and_the_last_epochs() -> None:
    cfg = loaded(BY_EPOCHS, "epochs=6")
    warm_up, drops = cfg.param_scheduler
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (6, 1)
    assert (warm_up["end"], drops["end"], list(drops["milestones"])) == (250, 6, [4, 6])
    last = [hook.get("last_epochs") for hook in loaded(DETECTOR).custom_hooks]
    fewer = [hook.get("last_epochs") for hook in loaded(DETECTOR, "epochs=50").custom_hooks]
    assert [n and n // 2 for n in last] == fewer and any(last)


def test_a_late_begin_of_validating_and_saving_moves_too(caplog) -> None:
    late = ("train_cfg.val_begin=8", "default_hooks.checkpoint.save_begin=6")
    with caplog.at_level(logging.INFO, "mmattn"):
        cfg = loaded(BY_EPOCHS, "epochs=6", *late)
    assert (cfg.train_cfg.val_begin, cfg.default_hooks.checkpoint.save_begin) == (8, 6)
    config = load_config(BY_EPOCHS)
    config.train_cfg.val_begin, config.default_hooks.checkpoint.save_begin = 8, 6
    config.train_cfg.dynamic_intervals = [(10, 1)]
    with caplog.at_level(logging.INFO, "mmattn"):
        set_epochs(config, 6)
    assert (config.train_cfg.val_begin, config.default_hooks.checkpoint.save_begin) == (4, 3)
    assert config.train_cfg.dynamic_intervals == [(5, 1)]
    for part in ("val_begin 8 -> 4", "save_begin 6 -> 3", "train_cfg.dynamic_intervals"):
        assert part in caplog.text


def test_batch_rate_and_workers() -> None:
    cfg = loaded(DETECTOR, "batch=3", "lr=0.5", "workers=0")
    assert cfg.train_dataloader.batch_size == 3 and cfg.val_dataloader.batch_size != 3
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.train_dataloader.num_workers == cfg.val_dataloader.num_workers == 0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epochs=3", r"epochs=3: this training counts iters, 2000 by itself: say iters=N"),
        ("iters=0", r"iters=0: give a whole number of at least 1"),
        ("iters=1.5", r"iters=1.5: give a whole number"),
        ("batch=no", r"batch=no: give a whole number of at least 1"),
        ("lr=-1", r"lr=-1: give a number above 0"),
        ("epoch=3", r"nothing reads the key 'epoch'. Did you mean '?epochs'?"),
    ],
)
def test_what_does_not_fit_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(SEGMENTOR, word)
