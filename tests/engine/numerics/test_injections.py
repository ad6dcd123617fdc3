"""Promise: in every system, a number that is not finite changes nothing and is found.

Each case trains a small network for three steps, the second of which is poisoned.
"""

from __future__ import annotations

import itertools
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.engine.numerics.bad_step import read_bad_step
from mmattn.engine.numerics.replay import repeat_saved
from mmattn.errors import NumericsError
from tests.support.poison import SITES, Poison, differences, state_of
from tests.support.systems import build_system, labelled_batch

_count = itertools.count()
INJECTED = ("FCN", "RetinaNet", "YOLOX", "YOLOv12", "CCNet", "Mask2Former", "BEVANet")
CASES = [
    pytest.param(system, site, policy, marks=() if default else pytest.mark.slow,
                 id=f"{system}-{site}-{policy}")
    for system in INJECTED
    for site in SITES
    for policy in ("stop", "skip")
    if (site, policy) != ("weight", "skip")  # a weight of nan is not a matter of one step
    for default in [(system, site, policy) in {
        ("FCN", "output", "skip"), ("RetinaNet", "input", "stop"), ("YOLOX", "weight", "stop"),
    }]
]  # fmt: skip


class Batches(Dataset):
    """Three times the same two scenes."""

    metainfo: dict = {}

    def __init__(self, scope: str):
        batch = labelled_batch(scope, [(64, 64)] * 2)
        pairs = zip(batch["inputs"], batch["data_samples"], strict=True)
        self.samples = [{"inputs": image, "data_samples": sample} for image, sample in pairs]

    def __len__(self) -> int:
        return 3 * len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return deepcopy(self.samples[index % len(self.samples)])


def trained(system: str, site: str, policy: str, folder: Path) -> tuple[Any, Any, Poison]:
    """A runner ready to train, a copy of its untrained model, and what poisons it."""
    scope, network = build_system(system)
    poison = Poison(site, [1])
    runner = Runner(
        model=network,
        work_dir=str(folder),
        train_dataloader=DataLoader(Batches(scope), batch_size=2, collate_fn=pseudo_collate),
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": 3},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 1e-4}, "clip_grad": {"max_norm": 10}},
        param_scheduler={"type": "LinearLR", "start_factor": 0.5, "end": 3, "by_epoch": False},
        default_hooks={"checkpoint": {"type": "mmattn.CheckpointHook", "interval": -1},
                       "logger": None},
        custom_hooks=[{"type": "EMAHook"}, poison, FiniteStepsHook(policy)],
        default_scope=scope,
        log_level="ERROR",
        randomness={"seed": 0},
        experiment_name=f"injection_{next(_count)}",
    )  # fmt: skip
    return runner, deepcopy(network), poison


@pytest.mark.parametrize(("system", "site", "policy"), CASES)
def test_injection(system: str, site: str, policy: str, tmp_path: Path) -> None:
    runner, network, poison = trained(system, site, policy, tmp_path)
    if policy == "skip":
        runner.train()
        assert differences(poison.states[1], poison.states[2]) == []
        assert differences(poison.states[2], state_of(runner)) != []
        return
    with pytest.raises(NumericsError, match="step 2: ") as error:
        runner.train()
    said = str(error.value)
    assert differences(poison.states[1], state_of(runner)) == []
    assert not list(tmp_path.glob("*.pth"))
    assert re.search(r"the first that is not finite is the \w", said), said
    assert "scene_0.png, scene_1.png" in said
    file = tmp_path / "bad_steps/iter_2.pth"
    assert str(file) in said
    torch.load(file, weights_only=True)
    if site in ("input", "weight"):  # what the file holds; hooks of a test are in no file
        again = repeat_saved(read_bad_step(file), network, str(file))
        assert again.same, (again.recorded, again.repeated)
