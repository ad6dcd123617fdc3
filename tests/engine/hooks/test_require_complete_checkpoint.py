"""Promise: a test reads its checkpoint once, copies it once, and refuses one that lacks weights."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmattn.engine.hooks.require_complete_checkpoint import RequireCompleteCheckpointHook
from mmattn.errors import CheckpointError
from mmattn.io import checkpoint_files as reader

_numbers = itertools.count()


class Net(BaseModel):
    """A network of two layers, which returns the sum of its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x, mode="tensor"):
        return [sum(value.item() for value in self.parameters())]

    def test_step(self, data):
        return self(data)


class Output(BaseMetric):
    def process(self, data_batch, data_samples) -> None:
        self.results += data_samples

    def compute_metrics(self, results) -> dict:
        return {"output": results[0]}


class Rearrange(Hook):
    """Rename a layer of the checkpoint, as hooks for old checkpoints do."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        weights = checkpoint["state_dict"]
        for key in [key for key in weights if key.startswith(self.old)]:
            weights[self.new + key.removeprefix(self.old)] = weights.pop(key)


@pytest.fixture
def runner(tmp_path: Path):
    def build(weights: dict, *hooks: Hook, only_weights: bool = False) -> Runner:
        torch.save(weights if only_weights else {"state_dict": weights}, tmp_path / "net.pth")
        built = Runner(
            model=Net(),
            work_dir=str(tmp_path),
            load_from=str(tmp_path / "net.pth"),
            test_dataloader={
                "dataset": [torch.zeros(1)],
                "sampler": {"type": "DefaultSampler", "shuffle": False},
                "collate_fn": {"type": "default_collate"},
                "batch_size": 1,
            },
            test_cfg={},
            test_evaluator=Output(),
            default_hooks=dict.fromkeys(("logger", "checkpoint", "timer", "runtime_info")),
            experiment_name=f"{tmp_path.name}-{next(_numbers)}",
        )
        for hook in (*hooks, RequireCompleteCheckpointHook()):
            built.register_hook(hook)
        return built

    return build


def ones(*layers: str) -> dict[str, torch.Tensor]:
    return {
        f"{layer}.{name}": torch.ones(shape)
        for layer in layers
        for name, shape in (("weight", (1, 1)), ("bias", (1,)))
    }


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Names of the files that are read while the test runs."""
    names: list[str] = []
    read = reader.read_weights_stream

    def count(*args, name="", **kwargs):
        names.append(Path(name).name)
        return read(*args, name=name, **kwargs)

    monkeypatch.setattr(reader, "read_weights_stream", count)
    return names


@pytest.fixture
def copies(monkeypatch) -> Counter[nn.Module]:
    """How often weights are copied into each module while the test runs."""
    counts: Counter[nn.Module] = Counter()
    load = nn.Module._load_from_state_dict

    def count(self, *args, **kwargs):
        counts[self] += 1
        return load(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "_load_from_state_dict", count)
    return counts


@pytest.mark.parametrize("only_weights", [False, True])
def test_a_checkpoint_is_read_once_and_copied_once(
    runner, reads: list, copies: Counter, only_weights: bool
) -> None:
    built = runner(ones("backbone", "head"), only_weights=only_weights)
    assert built.test() == {"output": 4.0}
    assert reads == ["net.pth"]
    assert {name: copies[part] for name, part in built.model.named_modules()} == {
        "": 1, "data_preprocessor": 1, "backbone": 1, "head": 1,
    }  # fmt: skip


def test_missing_weights_are_refused_with_file_and_names(runner, copies: Counter) -> None:
    built = runner(ones("backbone"))
    message = r"net\.pth: 2 of the model's 4 weights would stay random.*missing: head"
    with pytest.raises(CheckpointError, match=message):
        built.test()
    assert copies[built.model.head] == 1


def test_hooks_that_rearrange_a_checkpoint_act_before_it_is_judged(runner, copies) -> None:
    assert runner(ones("backbone", "old_head"), Rearrange("old_head", "head")).test() == {
        "output": 4.0
    }
    with pytest.raises(CheckpointError, match=r"missing: head"):
        runner(ones("backbone", "head"), Rearrange("head", "other")).test()


def test_averaged_weights_are_loaded_into_the_average_and_the_model_once(
    runner, reads: list, copies: Counter
) -> None:
    built = runner(ones("backbone", "head"), EMAHook())
    assert built.test() == {"output": 4.0}
    assert reads == ["net.pth"]
    assert copies[built.model.head] == 1
    assert sum(copies[part] for part in copies if isinstance(part, nn.Linear)) == 4


def test_weights_that_another_loader_filled_are_not_taken_for_complete(runner) -> None:
    built = runner(ones("backbone", "head"))
    built._has_loaded = True
    with pytest.raises(CheckpointError, match=r"net\.pth: cannot tell which"):
        built.test()
