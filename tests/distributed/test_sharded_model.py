"""Promise: a segmentor (FCN on a ResNet-18) that is sharded over two processes trains like a whole.

Its checkpoints are ordinary ones: sharded and unsharded trainings go on from each other's.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mmattn.data import write_shapes_dataset
from tests.support.sharded_ranks import run
from tests.support.two_ranks import run_ranks

pytestmark = pytest.mark.slow

SHARDED = {"type": "mmattn.FullyShardedModel", "min_parameters": 500}


@pytest.fixture(scope="module")
def runs(repo: Path, tmp_path_factory: pytest.TempPathFactory):
    """The folders of all runs: of one process, and of two with the same global batch."""
    root = tmp_path_factory.mktemp("sharded")
    write_shapes_dataset(root / "shapes", num_train=12, num_val=3, size=(64, 96), seed=0)
    config = root / "sharded.py"
    config.write_text(
        f"_base_ = {str(repo / 'tests/support/configs/tiny_fcn.py')!r}\n"
        "train_cfg = dict(max_iters=6, val_interval=6)\n"
        "optim_wrapper = dict(clip_grad=dict(_delete_=True, max_norm=1.0),\n"
        "    optimizer=dict(_delete_=True, type='AdamW', lr=1e-3))\n"
        "default_hooks = dict(checkpoint=dict(interval=3, save_best=None))\n"
    )
    two = {"train_dataloader.batch_size": 2, "model_wrapper_cfg": SHARDED}
    jobs = [
        {"folder": str(root / "sharded"), "options": two},
        {"folder": str(root / "again"), "options": two, "resume": str(root / "sharded/iter_3.pth")},
        {"folder": str(root / "to_sharded"), "options": two,
         "resume": str(root / "whole/iter_3.pth")},
        {"folder": str(root / "amp"), "options": two, "amp": True},
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(root / "shapes"))
        run(str(config), str(root / "whole"))
        run(str(config), str(root / "whole_amp"), amp=True)
        command = ["tests.support.sharded_ranks", str(config), json.dumps(jobs)]
        codes, texts = run_ranks(repo, command, command)
        assert codes == [0, 0], texts
        run(str(config), str(root / "to_whole"), resume=str(root / "sharded/iter_3.pth"))
    return root


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "iter_6.pth", weights_only=True)


def assert_close(folder: Path, expected: Path) -> None:
    found, other = checkpoint(folder), checkpoint(expected)
    assert found["state_dict"].keys() == other["state_dict"].keys()
    for name, value in other["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][name], value, rtol=1e-3, atol=2e-5)
    states = found["optimizer"]["state"]
    assert states.keys() == other["optimizer"]["state"].keys()
    for key, state in other["optimizer"]["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(states[key][name], value, rtol=1e-2, atol=1e-5)


def test_it_trains_like_one_process(runs: Path) -> None:
    assert_close(runs / "sharded", runs / "whole")


def test_weights_and_the_optimiser_s_state_are_shared_out(runs: Path) -> None:
    ranks = [json.loads((runs / f"sharded/rank{i}.json").read_text()) for i in (0, 1)]
    count = ranks[0]["all"]
    assert sum(rank["weights"] for rank in ranks) == count
    assert sum(rank["averages"] for rank in ranks) == count
    assert all(0.4 * count < rank["averages"] < 0.6 * count for rank in ranks)
    assert "backbone.layer2.0" in ranks[0]["blocks"]


def test_it_is_resumed_exactly(runs: Path) -> None:
    found, expected = checkpoint(runs / "again"), checkpoint(runs / "sharded")
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name


def test_one_process_goes_on_from_its_checkpoint_and_the_other_way_round(runs: Path) -> None:
    assert_close(runs / "to_whole", runs / "whole")
    assert_close(runs / "to_sharded", runs / "sharded")


def test_bfloat16_trains_too(runs: Path) -> None:
    """Two halves of a batch round otherwise than the whole: the weights stay near."""
    found, expected = checkpoint(runs / "amp"), checkpoint(runs / "whole_amp")
    start = checkpoint(runs / "whole")["state_dict"]
    assert any(not torch.equal(found["state_dict"][name], value) for name, value in start.items())
    for name, value in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][name], value, rtol=0.05, atol=6e-3)
