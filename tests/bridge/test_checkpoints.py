"""Promise: mmengine reads and writes checkpoints as data, and its training resumes from them."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, find_latest_checkpoint, load_checkpoint
from mmengine.runner import save_checkpoint as mmengine_save

from mmattn.errors import CheckpointError
from mmattn.io import read_checkpoint, save_safetensors, save_torch
from tests.support.same import assert_equal
from tests.support.toy_training import ToyModel, full_training, toy_runner


@pytest.fixture(autouse=True)
def one_thread():
    """These nets are too small for two; starting threads is what would take the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_own_checkpoints_need_no_allowance_and_resume_bit_exactly(tmp_path: Path) -> None:
    """Four epochs in one go, and two plus two, give the same file."""
    toy_runner(tmp_path / "whole", **full_training(4)).train()
    toy_runner(tmp_path / "parts", **full_training(4)).train()
    parts = tmp_path / "parts"
    (parts / "epoch_3.pth").unlink()
    (parts / "epoch_4.pth").unlink()
    for later in parts.glob("best_*.pth"):  # of the fourth epoch; a resume takes it up
        later.unlink()
    (parts / "last_checkpoint").write_text("epoch_2.pth")
    toy_runner(parts, **full_training(4), resume=True).train()

    whole, parted = (read_checkpoint(p / "epoch_4.pth") for p in (tmp_path / "whole", parts))
    for key in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
        assert_equal(parted[key], whole[key], key)
    logs = [content["message_hub"]["log_scalars"] for content in (whole, parted)]
    for name in ("train/loss", "train/lr", "val/toy/score", "train/grad_norm"):
        assert_equal(logs[1][name], logs[0][name], name)
    assert len(logs[0]["train/loss"]["log_history"]) == 8
    infos = [content["message_hub"]["runtime_info"] for content in (whole, parted)]
    for name in ("best_score", "keep_ckpt_ids", "epoch", "iter"):
        assert_equal(infos[1][name], infos[0][name], name)

    # Once more without mmattn, and with nothing allowed.
    code = (
        "import sys, torch\n"
        "for file in sys.argv[1:]:\n"
        "    content = torch.load(file, weights_only=True)\n"
        "    assert 'state_dict' in content, file\n"
        "assert not {'mmattn', 'mmengine'} & set(sys.modules)\n"
    )
    files = [str(file) for run in ("whole", "parts") for file in (tmp_path / run).glob("*.pth")]
    assert len(files) == 8
    subprocess.run([sys.executable, "-c", code, *files], check=True)


def test_resume_restores_log_and_epoch(tmp_path: Path) -> None:
    toy_runner(tmp_path).train()
    runner = toy_runner(tmp_path, resume=True, train_cfg={"by_epoch": True, "max_epochs": 3})
    runner.train()
    history = runner.message_hub.get_scalar("train/loss")
    assert isinstance(history, HistoryBuffer)
    assert len(history.data[0]) == 6
    assert (runner.epoch, runner.iter) == (3, 6)


def test_loss_scale_is_resumed(tmp_path: Path, monkeypatch) -> None:
    """AmpOptimWrapper wants an accelerator; it is given a CPU scaler instead."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper as amp

    monkeypatch.setattr(amp, "is_cuda_available", lambda: True)
    monkeypatch.setattr(amp, "GradScaler", partial(torch.amp.GradScaler, "cpu"))
    wrapper = {
        "type": "AmpOptimWrapper",
        "dtype": "bfloat16",
        "loss_scale": {"init_scale": 8.0, "growth_interval": 3},
        "optimizer": {"type": "SGD", "lr": 0.1},
    }
    toy_runner(tmp_path, optim_wrapper=wrapper).train()
    saved = read_checkpoint(tmp_path / "epoch_2.pth")["optimizer"]["loss_scaler"]
    assert saved["scale"] == 16.0, "three good steps double it"
    runner = toy_runner(tmp_path, optim_wrapper=wrapper, resume=True)
    runner.train()  # nothing is left to train
    assert runner.optim_wrapper.loss_scaler.state_dict() == saved


class KeepsObject(Hook):
    """Stores something that is no data, as hooks of users do."""

    def __init__(self, key: str = "meta"):
        self.key = key

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint[self.key]["logger"] = runner.logger


def test_foreign_objects_are_left_out_and_named(tmp_path: Path) -> None:
    toy_runner(tmp_path, custom_hooks=[KeepsObject()]).train()
    assert "logger" not in read_checkpoint(tmp_path / "epoch_2.pth")["meta"]
    text = next(tmp_path.glob("*/*.log")).read_text()
    assert "meta.logger is left out of the checkpoint: a mmengine.logging.logger.MMLogger" in text


def test_foreign_objects_among_the_optimizer_state_are_an_error(tmp_path: Path) -> None:
    runner = toy_runner(tmp_path, custom_hooks=[KeepsObject("optimizer")])
    with pytest.raises(CheckpointError, match=r"optimizer\.logger is a mmengine.*MMLogger"):
        runner.train()
    assert not list(tmp_path.glob("*.pth"))


@pytest.fixture
def trained(tmp_path: Path) -> ToyModel:
    """A model whose weights lie in ``whole.pth`` and, as bare weights, in two more files."""
    torch.manual_seed(3)
    model = ToyModel()
    weights = model.state_dict()
    torch.save({"state_dict": weights, "meta": {}}, tmp_path / "whole.pth")
    torch.save(weights, tmp_path / "bare.pth")
    save_safetensors(tmp_path / "bare.safetensors", weights)
    save_safetensors(tmp_path / "meta.safetensors", weights, {"note": "x"})
    return model


FILES = ["whole.pth", "bare.pth", "bare.safetensors", "meta.safetensors"]


@pytest.mark.parametrize("name", FILES)
def test_load_from_takes_all_formats(tmp_path: Path, trained: ToyModel, name: str) -> None:
    hooks = [{"type": "EMAHook"}]  # it looks for "state_dict" in what was read
    runner = toy_runner(tmp_path / "run", load_from=str(tmp_path / name), custom_hooks=hooks)
    runner.call_hook("before_run")
    runner.load_or_resume()
    assert_equal(runner.model.state_dict(), trained.state_dict())


@pytest.mark.parametrize("name", FILES)
def test_pretrained_init_takes_all_formats(tmp_path: Path, trained: ToyModel, name: str) -> None:
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / name)}
    model = ToyModel(init_cfg=init)
    model.init_weights()
    assert_equal(model.state_dict(), trained.state_dict())
    model = ToyModel(init_cfg=None)
    model.backbone = _Backbone(init_cfg={**init, "prefix": "backbone"})
    model.backbone.init_weights()
    assert torch.equal(model.backbone[0].weight, trained.backbone[0].weight)


def _Backbone(init_cfg: dict):
    from mmengine.model import Sequential

    return Sequential(*ToyModel().backbone, init_cfg=init_cfg)


def test_resume_from_bare_weights_says_what_to_do(tmp_path: Path, trained: ToyModel) -> None:
    file = str(tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match=r"bare\.safetensors: .*`load_from` without"):
        toy_runner(tmp_path / "run", load_from=file, resume=True).train()


def test_weights_that_match_nothing_are_an_error_everywhere(tmp_path: Path) -> None:
    file = str(tmp_path / "other.pth")
    weights = {f"net.{key}": value for key, value in ToyModel().state_dict().items()}
    torch.save({"state_dict": weights}, file)
    init = {"type": "Pretrained", "checkpoint": file}
    runner = toy_runner(tmp_path / "run", load_from=file)
    for load in (
        lambda: load_checkpoint(ToyModel(), file),
        runner.load_or_resume,
        ToyModel(init_cfg=init).init_weights,
        _Backbone({**init, "prefix": "net.head"}).init_weights,
    ):
        with pytest.raises(CheckpointError, match=r"other\.pth: none of its"):
            load()
    with pytest.raises(
        CheckpointError, match=r"other\.pth: has nothing under .*'neck\.'.*net"
    ) as raised:
        _Backbone({**init, "prefix": "neck"}).init_weights()
    assert isinstance(raised.value, AssertionError), "callers of mmengine catch this"


def test_partial_match_is_one_line(tmp_path: Path, caplog) -> None:
    """A backbone from a classifier: its last layer is too much, which is usual, no warning."""
    load = partial(load_checkpoint, ToyModel(), logger=logging.getLogger("toy"))
    caplog.set_level(logging.INFO, "toy")
    weights = ToyModel().state_dict()
    torch.save({"state_dict": weights | {"fc.weight": torch.ones(1)}}, tmp_path / "more.pth")
    load(str(tmp_path / "more.pth"))
    text = "Weights: matched 8/8 weights; unexpected: fc.weight"
    assert caplog.record_tuples[-1] == ("toy", logging.INFO, text)
    part = {key: value for key, value in weights.items() if key.startswith("backbone.0")}
    torch.save({"state_dict": part}, tmp_path / "less.pth")
    load(str(tmp_path / "less.pth"))
    missing = "backbone.1.weight, backbone.1.bias, backbone.1.running_mean, backbone.1.running_var"
    text = f"Weights: matched 2/8 weights; missing: {missing}, head.weight, head.bias"
    assert caplog.record_tuples[-1] == ("toy", logging.WARNING, text)


def test_shape_mismatch_is_reported_not_raised_unless_strict(tmp_path: Path, caplog) -> None:
    load = partial(load_checkpoint, ToyModel(), str(tmp_path / "wide.pth"))
    torch.save(ToyModel().state_dict() | {"head.bias": torch.ones(9)}, tmp_path / "wide.pth")
    load(logger=logging.getLogger("toy"))
    text = "Weights: matched 7/8 weights; other shape: head.bias (9,) for (1,)"
    assert caplog.record_tuples[-1] == ("toy", logging.WARNING, text)
    with pytest.raises(CheckpointError, match=r"wide\.pth: does not fit strictly"):
        load(strict=True)


def test_module_prefix_is_still_stripped(tmp_path: Path, trained: ToyModel) -> None:
    weights = torch.nn.DataParallel(trained).state_dict()
    assert all(key.startswith("module.") for key in weights)
    torch.save({"state_dict": weights}, tmp_path / "ddp.pth")
    model = ToyModel()
    load_checkpoint(model, str(tmp_path / "ddp.pth"))
    assert_equal(model.state_dict(), trained.state_dict())
    load_from, hooks = str(tmp_path / "ddp.pth"), [{"type": "EMAHook"}]
    runner = toy_runner(tmp_path / "run", load_from=load_from, custom_hooks=hooks)
    runner.call_hook("before_run")
    runner.load_or_resume()
    assert_equal(runner.model.state_dict(), trained.state_dict())


def test_missing_file_knows_its_neighbours(tmp_path: Path, trained: ToyModel) -> None:
    """It is also the error that callers of mmengine catch."""
    for load in (load_checkpoint, lambda model, file: CheckpointLoader.load_checkpoint(file)):
        with pytest.raises(CheckpointError, match=r"Did you mean 'whole\.pth'") as raised:
            load(ToyModel(), str(tmp_path / "hole.pth"))
        assert isinstance(raised.value, FileNotFoundError)


def test_latest_checkpoint_is_found_after_a_move(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    assert find_latest_checkpoint(str(old)) is None
    old.mkdir()
    assert find_latest_checkpoint(str(old)) is None
    save_torch(old / "epoch_2.pth", {})
    for pointer in ("epoch_2.pth", str(old / "epoch_2.pth")):  # ours, and stock mmengine's
        (old / "last_checkpoint").write_text(pointer)
        assert find_latest_checkpoint(str(old)) == str(old / "epoch_2.pth")
        shutil.move(old, new)
        assert find_latest_checkpoint(str(new)) == str(new / "epoch_2.pth")
        shutil.move(new, old)
    (old / "last_checkpoint").write_text("")
    assert find_latest_checkpoint(str(old)) == str(old / "epoch_2.pth")
    (old / "epoch_2.pth").unlink()
    with pytest.raises(CheckpointError, match="is empty"):
        find_latest_checkpoint(str(old))


def test_a_checkpoint_without_a_pointer_to_it_is_found(tmp_path: Path) -> None:
    """A run that is killed right behind its first checkpoint leaves this."""
    for age, name in enumerate(("iter_9.pth", "epoch_2.pth", "iter_100.pth")):
        save_torch(tmp_path / name, {})
        os.utime(tmp_path / name, ns=(0, 1000 - age))
    for other in ("best_mIoU_iter_200.pth", "mine.pth", ".epoch_3.pth.1a-2-3.tmp"):
        (tmp_path / other).touch()
    assert find_latest_checkpoint(str(tmp_path)) == str(tmp_path / "iter_9.pth")


def test_numbers_of_numpy_become_plain(tmp_path: Path) -> None:
    """Metrics give numpy's numbers, and `best_score` is one."""
    content = {"state_dict": {}, "meta": {"best": np.float32(0.5), "palette": np.zeros((2, 3))}}
    mmengine_save(content, str(tmp_path / "new" / "x.pth"))
    meta = read_checkpoint(tmp_path / "new" / "x.pth")["meta"]
    assert type(meta["best"]) is float
    assert torch.equal(meta["palette"], torch.zeros(2, 3, dtype=torch.float64))
    assert isinstance(content["meta"]["best"], np.float32), "what is saved is not changed"


@pytest.mark.slow
def test_importing_mmengine_first_changes_nothing() -> None:
    """Names that were imported before the bridge came are replaced as well."""
    code = (
        "from mmengine.runner import Runner, load_checkpoint, save_checkpoint\n"
        "import mmengine.runner.runner as runner, mmengine.runner.checkpoint as checkpoint\n"
        "import mmattn, mmattn.bridge.checkpoints as ours\n"
        # The original mmengine has no such function: there torch.load is what is replaced.
        "load = getattr(checkpoint, '_safe_torch_load', checkpoint.torch.load)\n"
        "assert load is ours.read_for_mmengine\n"
        "assert checkpoint.load_url is ours.load_url\n"
        "assert runner.find_latest_checkpoint is ours.find_latest_checkpoint\n"
        "import mmengine.runner\n"
        "for name in ('save_checkpoint', 'load_checkpoint'):\n"
        "    assert getattr(mmengine.runner, name) is getattr(checkpoint, name), name\n"
        "assert runner.save_checkpoint is checkpoint.save_checkpoint\n"
        "assert checkpoint.CheckpointLoader._schemes[''] is ours.load_from_local\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
