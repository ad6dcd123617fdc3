"""Promise: a test runs the fused model, with the weights that the test is about."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmattn.engine.hooks.compile import CompileHook
from mmattn.engine.hooks.fuse import FuseHook
from mmattn.layers.folding import affine_of, fold_after


class Net(BaseModel):
    """One convolution and its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
        self.ran: list[str] = []

    def forward(self, x, mode="tensor"):
        self.ran.append(type(self.norm).__name__)
        return [self.norm(self.conv(x)).item()]

    def test_step(self, data):
        return self(data)


class FusableNet(Net):
    def fused(self) -> nn.Module:
        self.conv, self.norm = fold_after(self.conv, affine_of(self.norm)), nn.Identity()
        return self


class Keep(BaseMetric):
    """The outputs themselves."""

    def process(self, data_batch, data_samples) -> None:
        self.results += data_samples

    def compute_metrics(self, results) -> dict:
        return {"output": results[0]}


def runner(model: nn.Module, folder: Path, *hooks) -> Runner:
    return Runner(
        model=model,
        work_dir=str(folder),
        test_dataloader={
            "dataset": [torch.full((1, 1, 1), 2.0)],
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "collate_fn": {"type": "default_collate"},
            "batch_size": 1,
        },
        test_cfg={"type": "TestLoop"},
        test_evaluator=Keep(),
        custom_hooks=list(hooks),
        default_scope="mmengine",
        experiment_name=folder.name,
    )


def worn(model: nn.Module, value: float) -> nn.Module:
    nn.init.constant_(model.conv.weight, value)
    nn.init.zeros_(model.conv.bias)
    model.norm.running_mean.fill_(1.0)
    return model


@pytest.mark.parametrize(("kind", "norm"), [(FusableNet, "Identity"), (Net, "BatchNorm2d")])
def test_form_takes_the_place_for_the_time_of_the_test(kind, norm: str, tmp_path) -> None:
    model = worn(kind(), 3.0)
    run = runner(model, tmp_path)
    seen = []

    class Watch(FuseHook):
        def after_test_epoch(self, runner, metrics=None) -> None:
            seen.append(runner.model)
            super().after_test_epoch(runner, metrics)

    run.register_hook(Watch())
    assert run.test()["output"] == pytest.approx(2 * 3 - 1, rel=1e-4)
    assert seen[0].ran == [norm]
    assert run.model is model
    assert type(model.norm) is nn.BatchNorm2d


def test_averaged_weights_are_those_that_are_folded(tmp_path) -> None:
    """EMAHook swaps them in at the beginning of a test; a form made earlier would lack them."""
    run = runner(worn(FusableNet(), 3.0), tmp_path)
    ema = EMAHook()
    run.register_hook(FuseHook())
    run.register_hook(ema)

    original = ema.before_run

    def averaged(runner) -> None:
        original(runner)
        nn.init.constant_(ema.ema_model.module.conv.weight, 7.0)

    ema.before_run = averaged
    assert run.test()["output"] == pytest.approx(2 * 7 - 1, rel=1e-4)
    assert run.model.conv.weight.item() == 3.0


class Whole(BaseModel):
    """A model whose backbone can be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = worn(FusableNet(), 3.0)

    def forward(self, x, mode="tensor"):
        return self.backbone(x)

    def test_step(self, data):
        return self(data)


@pytest.mark.parametrize(("validation", "compiled"), [(False, 0), (True, 1)])
def test_after_a_compiled_training_the_form_is_what_runs(
    validation: bool, compiled: int, tmp_path
) -> None:
    """Not the trained network, whose compiled ``forward`` a copy would inherit."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    run = runner(Whole(), tmp_path)
    compile_hook = CompileHook(validation=validation, backend=backend)
    compile_hook.before_train(run)
    run.register_hook(compile_hook)
    run.register_hook(FuseHook())
    run.model.train()  # its compiled forward is for training, also while it is copied
    assert run.test()["output"] == pytest.approx(2 * 3 - 1, rel=1e-4)
    assert run.model.backbone.norm.num_batches_tracked == 0
    assert run.model.backbone.ran == []
    assert len(graphs) == compiled
