"""Promise: a step that is not finite changes nothing, is explained, and ends the run or is skipped.

On a toy network with batch norm; ``test_injections.py`` does the same to real systems.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.engine.numerics.repeat import Finding
from mmattn.errors import NumericsError
from tests.support import toy_training
from tests.support.poison import SITES, Poison, differences, state_of
from tests.support.toy_training import full_training, toy_runner

NAN, INF = float("nan"), float("inf")


def runner_with(
    folder: Path, poison: Poison | None, hook: FiniteStepsHook | None, **options: Any
) -> Any:
    """A training of 16 steps with average, schedules by iteration and a clipped norm."""
    settings = full_training(8)
    settings["train_cfg"] = {"by_epoch": False, "max_iters": 16, "val_interval": 100}
    # mmengine sleeps where a sampler by epoch begins anew.
    loader = toy_training._loader(shuffle=True)
    settings["train_dataloader"] = {**loader, "sampler": {"type": "InfiniteSampler"}}
    settings["param_scheduler"][1].update(milestones=[6, 12], end=16, by_epoch=False)
    settings["param_scheduler"][2]["total_steps"] = 16
    settings["checkpoint"] = {"interval": -1, "save_last": False}
    settings.update(options)
    hooks = [*settings["custom_hooks"], *(one for one in (poison, hook) if one is not None)]
    settings["custom_hooks"] = hooks
    return toy_runner(folder, **settings)


@pytest.mark.parametrize("site", SITES)
def test_a_bad_step_stops_the_run_and_changes_nothing(site: str, tmp_path: Path) -> None:
    poison = Poison(site, [3])
    runner = runner_with(tmp_path, poison, FiniteStepsHook())
    with pytest.raises(NumericsError, match="step 4: ") as error:
        runner.train()
    assert error.value.exit_code == 5
    # What was poisoned aside, the state is that in front of the step, to the bit.
    assert differences(poison.states[-1], state_of(runner)) == []
    assert len(poison.states) == 4
    where = {
        "input": "input of data_preprocessor",
        "weight": r"weight backbone\.0\.weight",
        "gradient": r"gradient of backbone\.0\.weight",
        "loss": "loss itself",
        "output": r"output of backbone\.0[;.]",
    }[site]
    assert re.search(where, str(error.value)), str(error.value)


@pytest.mark.parametrize("site", ["input", "gradient", "loss"])
@pytest.mark.parametrize(
    "value", [NAN, *(pytest.param(v, marks=pytest.mark.slow) for v in (INF, -INF))]
)
def test_skipped_steps_leave_no_trace_and_the_run_goes_on(
    site, value, tmp_path, monkeypatch
) -> None:
    poison = Poison(site, [3, 4, 9], value)
    runner = runner_with(tmp_path, poison, FiniteStepsHook("skip", max_in_a_row=2))
    warnings: list[str] = []
    monkeypatch.setattr(runner.logger, "warning", lambda text, *_: warnings.append(str(text)))
    runner.train()
    states = [*poison.states, state_of(runner)]
    for step in range(16):
        changed = differences(states[step], states[step + 1])
        assert bool(changed) == (step not in (3, 4, 9)), (step, changed[:3])
    said = [text for text in warnings if "The step is left out" in text]
    assert [text.split(":")[0] for text in said] == ["step 4", "step 5", "step 10"]
    assert [text.count(" 1 of 2 in a row") for text in said] == [1, 0, 1]
    # A file for the first, not one for each: they are as large as the network.
    assert [f.name for f in (tmp_path / "bad_steps").iterdir()] == ["iter_4.pth"]


def test_more_bad_steps_in_a_row_than_allowed_stop_the_run(tmp_path: Path) -> None:
    poison = Poison("input", range(4, 12))
    runner = runner_with(tmp_path, poison, FiniteStepsHook("skip", max_in_a_row=3))
    with pytest.raises(NumericsError, match=r"step 8: .*so were the 3 steps before it"):
        runner.train()
    assert differences(poison.states[4], state_of(runner)) == []
    assert {f.name for f in (tmp_path / "bad_steps").iterdir()} == {"iter_5.pth", "iter_8.pth"}


@pytest.mark.parametrize("bad", [4, 5, 6, 7])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_accumulated_batches_are_dropped_together(bad: int, policy: str, tmp_path: Path) -> None:
    """Average, schedules and buffers move with each batch, and are put back with the rest."""
    poison = Poison("input", [bad])
    accumulating = {
        "type": OptimWrapper,
        "optimizer": {"type": "AdamW", "lr": 0.01},
        "accumulative_counts": 4,
    }
    runner = runner_with(tmp_path, poison, FiniteStepsHook(policy), optim_wrapper=accumulating)
    if policy == "stop":
        with pytest.raises(NumericsError, match="step 8: "):
            runner.train()
        assert differences(poison.states[4], state_of(runner)) == []
    else:
        runner.train()
        assert differences(poison.states[4], poison.states[8]) == []
        assert differences(poison.states[8], poison.states[12]) != []


@pytest.mark.parametrize(
    "clip", [None, {"max_norm": 1.0}, {"max_norm": 0.5, "norm_type": 1.0},
             {"type": "value", "clip_value": 0.1}]
)  # fmt: skip
@pytest.mark.parametrize("counts", [1, 3])
def test_a_good_training_is_the_same_to_the_bit(clip, counts, tmp_path: Path) -> None:
    def train(folder: Path, hook: FiniteStepsHook | None) -> Any:
        wrapper = {
            "optimizer": {"type": "AdamW", "lr": 0.01},
            "clip_grad": clip and dict(clip),
            "accumulative_counts": counts,
        }
        runner = runner_with(folder, None, hook, optim_wrapper=wrapper)
        runner.train()
        return runner

    plain, guarded = train(tmp_path / "a", None), train(tmp_path / "b", FiniteStepsHook())
    assert differences(state_of(plain), state_of(guarded)) == []
    scalars = [r.message_hub.log_scalars for r in (plain, guarded)]
    assert scalars[0].keys() == scalars[1].keys()
    if clip and "max_norm" in clip:
        first, second = (s["train/grad_norm"].data[0].tolist() for s in scalars)
        assert first == second
    # Nothing is left of the guard: the runner is mmengine's again.
    for name in ("backward", "_clip_grad"):
        assert name not in vars(guarded.optim_wrapper)
    assert "train_step" not in vars(guarded.model)


def test_a_bad_step_consumes_no_random_number(tmp_path: Path) -> None:
    """A step that is repeated to be explained must not shift the rest of the run."""

    class Draws(Poison):
        drawn: list[float] = []

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            self.drawn.append(float(torch.rand(())))

    class Drops(toy_training.ToyModel):
        def forward(self, inputs, target, mode="tensor", **_):
            return super().forward(torch.nn.functional.dropout(inputs, 0.2), target, mode)

    runs = []
    for at in ([], [3]):
        hook = Draws("gradient", at)
        hook.drawn = []
        folder = tmp_path / str(len(at))
        runner_with(folder, hook, FiniteStepsHook("skip"), model=Drops()).train()
        runs.append(hook.drawn)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_an_error_that_a_nan_has_caused_is_a_bad_step(policy: str, tmp_path: Path) -> None:
    """A matcher refuses costs of nan with an error of its own, before there is a loss."""
    poison = Poison("output", [2])
    runner = runner_with(tmp_path, poison, FiniteStepsHook(policy))
    forward = type(runner.model).forward

    def picky(self, *args, **kwargs):
        losses = forward(self, *args, **kwargs)
        if isinstance(losses, dict) and not torch.isfinite(losses["loss"]):
            raise ValueError("matrix contains invalid numeric entries")
        return losses

    runner.model.forward = picky.__get__(runner.model)
    if policy == "skip":
        runner.train()
        assert differences(poison.states[2], poison.states[3]) == []
        assert differences(poison.states[3], poison.states[4]) != []
        return
    with pytest.raises(NumericsError, match=r"invalid numeric entries.*output of backbone.0") as e:
        runner.train()
    assert isinstance(e.value.__cause__, ValueError)


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, None, FiniteStepsHook())

    def fails(*args, **kwargs):
        raise KeyError("gt_masks")

    runner.model.forward = fails
    with pytest.raises(KeyError, match="gt_masks"):
        runner.train()


def test_gradients_whose_squares_overflow_are_bad_too(tmp_path: Path) -> None:
    """Adam's average of squares would be infinite for ever, and the weight never move again."""
    runner = runner_with(tmp_path, Poison("gradient", [3], 1e30), FiniteStepsHook())
    with pytest.raises(NumericsError, match=r"norm of all gradients, of which backbone\.0\.weight"):
        runner.train()


# --- checkpoints ---------------------------------------------------------------------------------


def test_no_checkpoint_and_no_best_of_weights_that_are_not_finite(tmp_path: Path) -> None:
    """Finite gradients and a huge rate: only the step itself makes the weights infinite."""
    settings = full_training(2)
    settings["param_scheduler"] = None
    settings["optim_wrapper"] = {"optimizer": {"type": "SGD", "lr": 1e30}}
    settings["custom_hooks"] = [FiniteStepsHook()]
    runner = toy_runner(tmp_path, **settings)
    with pytest.raises(NumericsError, match=r"loss is (nan|inf)|no checkpoint is written"):
        runner.train()
    for file in tmp_path.glob("*.pth"):
        weights = torch.load(file, weights_only=True)["state_dict"]
        assert all(torch.isfinite(v).all() for v in weights.values()), file


@pytest.mark.parametrize("part", ["weight", "buffer", "average"])
def test_a_checkpoint_is_refused_and_the_last_one_stays(part: str, tmp_path: Path) -> None:
    class Spoil(Poison):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if runner.iter == 3:
                model = runner.model
                if part == "average":
                    model = next(h for h in runner.hooks if hasattr(h, "ema_model")).ema_model
                tensors = model.buffers() if part == "buffer" else model.parameters()
                next(t for t in tensors if t.is_floating_point()).data.view(-1)[0] = NAN

    settings = full_training(4)
    settings["custom_hooks"] = [*settings["custom_hooks"], Spoil("loss", []), FiniteStepsHook()]
    runner = toy_runner(tmp_path, **settings)
    with pytest.raises(NumericsError, match=r"no checkpoint is written.* last checkpoint is .*ep"):
        runner.train()
    assert {f.name for f in tmp_path.glob("epoch*.pth")} == {"epoch_1.pth"}


def test_a_buffer_that_is_infinite_by_design_is_saved(tmp_path: Path) -> None:
    settings = full_training(1)
    settings["custom_hooks"] = [FiniteStepsHook()]
    runner = toy_runner(tmp_path, **settings)
    runner.model.register_buffer("causal_mask", torch.full((2, 2), -INF).triu(1))
    runner.train()
    assert (tmp_path / "epoch_1.pth").exists()


# --- float16's loss scaler -----------------------------------------------------------------------


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a training with a loss scale, on the CPU."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper as amp

    for name in ("is_cuda_available", "GradScaler"):
        monkeypatch.setattr(amp, name, getattr(amp, name))
    toy_training.scale_losses_on_cpu()
    settings = toy_training.scaled_training(8)
    settings["train_cfg"] = {"by_epoch": False, "max_iters": 16, "val_interval": 100}
    settings["optim_wrapper"]["loss_scale"] = {"init_scale": 8.0, "growth_interval": 3}
    return settings


@pytest.mark.parametrize("clip", [None, {"max_norm": 1.0}])
def test_steps_that_the_scaler_skips_are_its_own_business(scaled, clip, tmp_path) -> None:
    scaled["optim_wrapper"]["clip_grad"] = clip
    poison = Poison("gradient", [3, 4, 9], INF)
    runner = runner_with(tmp_path, poison, FiniteStepsHook(), **scaled)
    runner.train()
    assert runner.iter == 16
    assert poison.states[3]["optimizer"]["loss_scaler"]["scale"] == 16.0
    assert poison.states[5]["optimizer"]["loss_scaler"]["scale"] == 4.0


def test_a_scaler_that_only_skips_ends_the_run(scaled: dict, tmp_path: Path) -> None:
    poison = Poison("gradient", range(4, 100), INF)
    hook = FiniteStepsHook("skip", max_in_a_row=50, max_scaler_skips=7)
    with pytest.raises(NumericsError, match=r"step 11: the loss scaler has left out 7 steps in a"):
        runner_with(tmp_path, poison, hook, **scaled).train()


def test_a_loss_of_nan_is_not_left_to_the_scaler(scaled: dict, tmp_path: Path) -> None:
    poison = Poison("input", [3])
    runner = runner_with(tmp_path, poison, FiniteStepsHook(), **scaled)
    with pytest.raises(NumericsError, match="step 4: the loss is nan"):
        runner.train()
    assert differences(poison.states[3], state_of(runner)) == []


def test_a_loss_that_is_finite_and_absurd_points_at_the_learning_rate() -> None:
    found = Finding({"loss": 1.2e31}, 1.2e31, "gradient of the input of head.norm")
    assert "the learning rate is likely too high" in found.describe()
    assert "learning rate" not in Finding({"loss": 2.0}, 2.0, found.where).describe()
