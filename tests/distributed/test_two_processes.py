"""Two real processes (gloo, torchrun) train like one process with the same global batch."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mmattn.engine
from mmattn.data import write_shapes_dataset
from tests.support.two_ranks import free_port

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture(scope="module")
def records(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What each process of a run with one and of a run with two processes wrote."""
    root = tmp_path_factory.mktemp("shapes")
    write_shapes_dataset(root, num_train=12, num_val=3, size=(64, 96), seed=0)
    config = tmp_path_factory.mktemp("config") / "recorded.py"
    config.write_text(
        f"_base_ = {str(repo / 'tests/support/configs/tiny_fcn.py')!r}\n"
        "custom_imports = dict(imports=['rank_recorder'])\n"
        "custom_hooks = [dict(type='RankRecorder')]\n"
        "train_cfg = dict(max_iters=6, val_interval=6)\n"
        # Has statistics of each process's own images; the losses of the rest stay what they are.
        "model = dict(auxiliary_head=dict(_delete_=True, type='FCNHead', in_channels=32,\n"
        "    in_index=2, channels=4, num_convs=1, num_classes=10, norm_cfg=dict(type='BN'),\n"
        "    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.0)))\n"
    )
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(root))
        patch.setenv("RANK_RECORDS", str(one))
        patch.syspath_prepend(HERE)
        mmattn.engine.train(config, work_dir=str(one))
        patch.setenv("RANK_RECORDS", str(two))
        environment = os.environ | {
            "PYTHONPATH": str(HERE), "PYTHON": sys.executable, "PORT": str(free_port()),
            "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
    command = [repo / "tools/dist_train.sh", config, "2", "--work-dir", two]
    done = subprocess.run(
        [*command, "--cfg-options", "train_dataloader.batch_size=2"],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = {}
    for folder in (one, two):
        for file in sorted(folder.glob("rank*.pth")):
            # A folder's name ends in a number that pytest adds.
            found[f"{folder.name[:3]}/{file.stem}"] = torch.load(file, weights_only=True)
        checkpoint = torch.load(folder / "iter_6.pth", weights_only=True)
        found[f"{folder.name[:3]}/checkpoint"] = checkpoint["state_dict"]
        with next(folder.glob("*/results.csv")).open(newline="") as lines:
            found[f"{folder.name[:3]}/values"] = {
                (row["class"], row["metric"]): float(row["value"]) for row in csv.DictReader(lines)
            }
    return found


def test_both_ranks_end_with_the_same_weights(records: dict) -> None:
    first, second = records["two/rank0"], records["two/rank1"]
    assert first["wrapper"] == "MMDistributedDataParallel"
    assert first["losses"] != second["losses"], "both ranks saw the same images"
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name]), name


def test_the_ranks_share_each_batch_of_the_single_process(records: dict) -> None:
    ranks = zip(records["two/rank0"]["images"], records["two/rank1"]["images"], strict=True)
    for alone, (first, second) in zip(records["one/rank0"]["images"], ranks, strict=True):
        assert sorted(alone) == sorted(first + second)


def test_losses_and_weights_equal_those_of_one_process_to_rounding(records: dict) -> None:
    ranks = zip(records["two/rank0"]["losses"], records["two/rank1"]["losses"], strict=True)
    mean = [sum(pair) / 2 for pair in ranks]
    assert mean == pytest.approx(records["one/rank0"]["losses"], rel=1e-5)
    for name, value in records["one/rank0"]["weights"].items():
        if "running" in name:  # of half the images each
            continue
        torch.testing.assert_close(
            records["two/rank0"]["weights"][name], value, rtol=1e-3, atol=1e-5
        )


def test_every_process_validates_the_network_of_the_checkpoint(records: dict) -> None:
    """Also the running statistics of plain batch norms, which each process has its own of."""
    saved = records["two/checkpoint"]
    assert any("running_var" in name for name in saved)
    for rank in ("two/rank0", "two/rank1"):
        for name, value in saved.items():
            assert torch.equal(records[rank]["validated"][name], value), (rank, name)


def test_an_odd_number_of_validation_images_is_counted_once_each(records: dict) -> None:
    one, two = records["one/values"], records["two/values"]
    assert one.keys() == two.keys()
    for key, value in one.items():
        # Rounding may turn single pixels.
        assert two[key] == pytest.approx(value, abs=0.5, nan_ok=True), key
