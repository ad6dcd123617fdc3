"""Promise: what plain mmengine wrote loads and resumes as in plain mmengine, and runs nothing.

The files are written in processes without mmattn. ``test_hostile_checkpoints`` has the files that
stay refused.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint

from mmattn.errors import CheckpointError
from mmattn.io import read_checkpoint
from tests.support.plain_training import additions, run_plain, unreadable
from tests.support.same import assert_equal
from tests.support.toy_training import (
    ToyModel,
    full_training,
    scale_losses_on_cpu,
    scaled_training,
    toy_runner,
)

TRAINED = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["full", pytest.param("scaled", marks=pytest.mark.slow)])
def plain(request, tmp_path_factory) -> Path:
    """Work directory of four epochs by plain mmengine; its name is that of the settings."""
    work_dir = tmp_path_factory.mktemp("plain") / request.param
    run_plain(request.param, work_dir, 4)
    return work_dir


@pytest.fixture
def unpickled() -> Any:
    """Function that reads a file as plain mmengine does."""
    return lambda file: torch.load(file, map_location="cpu", weights_only=False)


def settings_of(plain: Path, monkeypatch) -> dict[str, Any]:
    if plain.name == "full":
        return full_training(4)
    from mmengine.optim.optimizer import amp_optimizer_wrapper as amp

    for name in ("is_cuda_available", "GradScaler"):  # put back at the end
        monkeypatch.setattr(amp, name, getattr(amp, name))
    scale_losses_on_cpu()
    return scaled_training(4)


def halfway(plain: Path, work_dir: Path) -> Path:
    """Copy of the training as it was after two epochs."""
    work_dir.mkdir()
    shutil.copy(plain / "epoch_2.pth", work_dir)
    (work_dir / "last_checkpoint").write_text(str(plain / "no_longer_here" / "epoch_2.pth"))
    return work_dir


def test_files_of_plain_mmengine_are_objects_to_torch(plain: Path) -> None:
    """Otherwise these tests would show nothing."""
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(plain / "epoch_4.pth", weights_only=True)


def test_resumed_training_equals_the_plain_one_bit_for_bit(plain, tmp_path, monkeypatch) -> None:
    """Two epochs by mmengine and two with mmattn, and four by mmengine, give the same."""
    settings = settings_of(plain, monkeypatch)
    runner = toy_runner(halfway(plain, tmp_path / "run"), resume=True, **settings)
    runner.train()
    assert (runner.epoch, runner.iter) == (4, 8)
    resumed, whole = (read_checkpoint(p / "epoch_4.pth") for p in (tmp_path / "run", plain))
    for key in set(TRAINED) & set(whole):
        assert_equal(resumed[key], whole[key], key)
    logs = [content["message_hub"]["log_scalars"] for content in (resumed, whole)]
    assert list(logs[0]) == list(logs[1])
    for name in set(logs[0]) - {"train/time", "train/data_time", "val/time", "val/data_time"}:
        assert_equal(logs[0][name], logs[1][name], name)
    infos = [content["message_hub"]["runtime_info"] for content in (resumed, whole)]
    for name in {"best_score", "epoch", "iter"} & set(infos[1]):
        assert_equal(infos[0][name], infos[1][name], name)
    assert isinstance(runner.message_hub.get_scalar("train/loss"), HistoryBuffer)


@pytest.mark.slow
def test_plain_mmengine_resumes_bit_for_bit_too(plain: Path, tmp_path: Path, unpickled) -> None:
    """The measure of the test above is mmengine's own."""
    run = halfway(plain, tmp_path / "run")
    (run / "last_checkpoint").write_text(str(run / "epoch_2.pth"))
    run_plain(plain.name, run, 4, resume=True)
    contents = [unpickled(folder / "epoch_4.pth") for folder in (run, plain)]
    for key in set(TRAINED) & set(contents[0]):
        assert_equal(contents[0][key], contents[1][key], key)


def test_resume_takes_optimizer_schedulers_and_counters(plain, tmp_path, monkeypatch, unpickled):
    settings = settings_of(plain, monkeypatch)
    settings["train_cfg"]["max_epochs"] = 2  # nothing is left to train
    runner = toy_runner(halfway(plain, tmp_path / "run"), resume=True, **settings)
    runner.train()
    wanted = unpickled(plain / "epoch_2.pth")
    assert (runner.epoch, runner.iter) == (2, 4)
    assert_equal(runner.optim_wrapper.state_dict(), wanted["optimizer"])
    assert_equal([s.state_dict() for s in runner.param_schedulers], wanted["param_schedulers"])
    if plain.name == "scaled":
        assert runner.optim_wrapper.loss_scaler.get_scale() == 16.0
    history, plain_history = (
        hub.data
        for hub in (
            runner.message_hub.get_scalar("train/loss"),
            wanted["message_hub"]["log_scalars"]["train/loss"],
        )
    )
    for mine, plains in zip(history, plain_history, strict=True):
        assert mine.dtype == plains.dtype
        assert np.array_equal(mine, plains)


def test_weights_load_in_every_way(plain: Path, tmp_path: Path, unpickled) -> None:
    file = str(plain / "epoch_4.pth")
    wanted = unpickled(file)["state_dict"]
    model = ToyModel()
    load_checkpoint(model, file)
    assert_equal(model.state_dict(), wanted)
    model = ToyModel(init_cfg={"type": "Pretrained", "checkpoint": file})
    model.init_weights()
    assert_equal(model.state_dict(), wanted)
    runner = toy_runner(tmp_path / "run", load_from=file)
    runner.load_or_resume()
    assert_equal(runner.model.state_dict(), wanted)


def test_read_content_is_what_plain_mmengine_gives_as_plain_data(plain: Path, unpickled) -> None:
    """The other way to plain data is the one by which mmattn writes."""
    from mmattn.bridge.checkpoint_content import plain_checkpoint

    content = unpickled(plain / "epoch_4.pth")
    for name in unreadable():
        del content["meta"][name]
    found = read_checkpoint(plain / "epoch_4.pth")
    queue = content["meta"].pop("queue")
    assert found["meta"].pop("queue") == list(queue)
    hub = found["message_hub"]
    hub["log_scalars"] = dict(hub["log_scalars"])
    assert_equal(found, plain_checkpoint(content))
    assert found["state_dict"]._metadata == content["state_dict"]._metadata
    meta = found["meta"]
    assert set(additions()) - {"queue"} <= set(meta)
    assert meta["model"] == ConfigDict(model={"type": "Net", "layers": [1, {"deep": (2, 3)}]})
    assert type(meta["model"]) is dict
    assert meta["best"] == float(np.float32(0.1))
    assert meta["path"] == "/a/b"
    assert isinstance(found["param_schedulers"][-1].get("milestones", Counter()), Counter)


def test_what_is_not_data_is_left_out_with_one_line(plain: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        content = read_checkpoint(plain / "epoch_4.pth")
    assert not set(unreadable()) & set(content["meta"])
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{plain / 'epoch_4.pth'}: left out what is not data: meta.custom "
        "(tests.support.plain_training.Custom), meta.call (builtins.print), meta.moment "
        "(datetime.datetime)."
    )


def test_that_line_is_in_the_log_file_of_the_run(plain, tmp_path, monkeypatch, capsys) -> None:
    """Also where mmengine's Runner resumes without a tool of mmattn; it is shown once."""
    settings = settings_of(plain, monkeypatch)
    settings["train_cfg"]["max_epochs"] = 2
    toy_runner(halfway(plain, tmp_path / "run"), resume=True, **settings).train()
    (log,) = (tmp_path / "run").glob("*/*.log")
    shown = capsys.readouterr()
    for text in (log.read_text(encoding="utf-8"), shown.out + shown.err):
        assert text.count("epoch_2.pth: left out what is not data: meta.custom") == 1


def test_best_checkpoints_load_too(plain: Path) -> None:
    if plain.name == "full":
        (best,) = plain.glob("best_*.pth")
        load_checkpoint(ToyModel(), str(best))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("map_location", ["cpu", None, {"cpu": "cpu"}, lambda s, _: s])
def test_all_forms_of_torch_save(
    plain, tmp_path, unpickled, protocol, zipped, map_location
) -> None:
    content = unpickled(plain / "epoch_4.pth")
    content["views"] = [*list(torch.arange(12.0).reshape(3, 4).t()[1:]), torch.zeros(0, 2)]
    file = tmp_path / "x.pth"
    torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(file, map_location)
    assert_equal(found["views"], content["views"])
    assert found["views"][0].untyped_storage().data_ptr() == (
        found["views"][1].untyped_storage().data_ptr()
    ), "views share their memory"
    wanted = read_checkpoint(plain / "epoch_4.pth")
    del found["views"], found["meta"]["set"], wanted["meta"]["set"]
    assert_equal(found, wanted)


def test_storages_are_placed(plain: Path) -> None:
    content = read_checkpoint(plain / "epoch_4.pth", "meta")
    assert {tensor.device.type for tensor in content["state_dict"].values()} == {"meta"}


def test_types_of_numbers(tmp_path: Path) -> None:
    """All that torch and numpy have in common, and some of torch's own."""
    names = ["bool", "uint8", "int8", "int16", "int32", "int64"]
    names += ["float16", "float32", "float64", "complex64", "complex128"]
    arrays = {name: np.array([0, 1, 1]).astype(name) for name in names}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name in ("bfloat16", "float8_e4m3fn", "uint16"):
        tensors[name] = torch.arange(3).to(getattr(torch, name))
    torch.save({"state_dict": tensors, "arrays": arrays, "call": print}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")
    assert_equal(found["state_dict"], tensors)
    assert_equal(found["arrays"], {name: tensors[name] for name in names})


def test_parameters_are_weights(tmp_path: Path) -> None:
    parameters = dict(ToyModel().named_parameters())
    torch.save({"state_dict": parameters, "call": print}, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth")["state_dict"]
    assert_equal(found, {key: value.detach() for key, value in parameters.items()})


def test_old_checkpoints_of_mmcv_give_their_weights_and_say_why_not_to_resume(tmp_path) -> None:
    """mmcv 1.x had no message hub; a numpy number is among its hooks' messages."""
    content = {
        "meta": {"epoch": 3, "iter": 9, "env_info": "x", "hook_msgs": {"best": np.float64(0.5)}},
        "state_dict": ToyModel().state_dict(),
        "optimizer": {"state": {}, "param_groups": []},
    }
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load_checkpoint(ToyModel(), str(tmp_path / "old.pth"))
    assert read_checkpoint(tmp_path / "old.pth")["meta"]["hook_msgs"] == {"best": 0.5}
    runner = toy_runner(tmp_path / "run", load_from=str(tmp_path / "old.pth"), resume=True)
    with pytest.raises(CheckpointError, match=r"old\.pth: cannot be resumed from.*message_hub"):
        runner.train()
