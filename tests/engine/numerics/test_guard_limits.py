"""Promise: the guard of steps takes nothing over, and stands in nobody's way, without a reason."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmattn.compare.train_variant import _RunMonitorHook
from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.engine.numerics.repeat import Finding
from mmattn.errors import NumericsError
from tests.support.poison import Poison, differences
from tests.support.toy_training import ToyModel, toy_runner

NAN, INF = float("nan"), float("inf")


def runner_with(folder: Path, *hooks: Any, steps: int = 6, **options: Any) -> Any:
    """A training of six steps without checkpoints."""
    settings: dict[str, Any] = {
        "train_cfg": {"by_epoch": True, "max_epochs": math.ceil(steps / 2)},
        "checkpoint": {"interval": -1, "save_last": False},
        "custom_hooks": [*hooks, FailsAtTheThird()],
        "param_scheduler": None,
    }
    return toy_runner(folder, **{**settings, **options})


# --- several optimisers --------------------------------------------------------------------------


class TwoOptimizers(ToyModel):
    """Gives backbone and head an optimiser each."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        losses = self(**self.data_preprocessor(data, True), mode="loss")
        losses["loss"].backward()
        for wrapper in optim_wrapper.values():
            wrapper.step()
            wrapper.zero_grad()
        return losses


def test_several_optimisers_train_unguarded_with_a_warning(tmp_path: Path, monkeypatch) -> None:
    model = TwoOptimizers()
    wrapper = OptimWrapperDict(
        **{
            name: OptimWrapper(torch.optim.SGD(part.parameters(), 0.01))
            for name, part in (("backbone", model.backbone), ("head", model.head))
        }
    )
    runner = runner_with(tmp_path, FiniteStepsHook(), model=model, optim_wrapper=wrapper)
    warnings: list[str] = []
    monkeypatch.setattr(runner.logger, "warning", lambda text, *_: warnings.append(str(text)))
    before = model.head.weight.detach().clone()
    runner.train()
    assert not torch.equal(before, model.head.weight)
    assert any("Steps with OptimWrapperDict are not checked" in text for text in warnings)


# --- buffers that a module assigns anew ----------------------------------------------------------


class Rebinds(ToyModel):
    """Keeps a mean as mmseg's EMAModule keeps its bases, one from the first step on, and a third
    one whose memory it swaps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("later", None)
        self.register_buffer("swapped", torch.zeros(1))

    def forward(self, inputs: Any, target: Any, mode: str = "tensor", **_: Any) -> Any:
        self.mean = 0.9 * self.mean + 0.1 * inputs.mean()
        self.later = inputs.mean() if self.later is None else 0.5 * self.later + inputs.mean()
        self.swapped.data = self.swapped + inputs.mean()
        return super().forward(inputs, target, mode)


@pytest.mark.parametrize("at", [0, 3])
def test_a_buffer_that_is_assigned_anew_is_put_back(at: int, tmp_path: Path) -> None:
    poison = Poison("input", [at])
    runner = runner_with(tmp_path, poison, FiniteStepsHook("skip"), model=Rebinds())
    runner.train()
    assert differences(poison.states[at], poison.states[at + 1]) == []
    for buffer in runner.model.buffers():
        assert torch.isfinite(buffer).all()


# --- -inf on purpose, and errors that have nothing to do with it ---------------------------------


class Masks(nn.Module):
    """Puts ``value`` in the place of the last score."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, :-1], torch.full_like(x[:, -1:], self.value)], 1)


class Masked(ToyModel):
    """Holds scores of -inf on purpose, and can fail afterwards, at the third step.

    Args:
        error: What it raises.
        blow: Factor of the loss.
        value: What is put behind the softmax, where 0 is otherwise.
    """

    def __init__(self, error: Exception | None = None, blow: float = 1.0, value: float = 0.0):
        super().__init__()
        self.mask, self.after, self.fails = Masks(-INF), Masks(0.0), False
        self.error, self.blow, self.value = error, blow, value

    def forward(self, inputs: Any, target: Any, mode: str = "tensor", **_: Any) -> Any:
        features = self.backbone(inputs).mean(dim=(2, 3))
        self.after.value = self.value if self.fails else 0.0
        shares = self.after(self.mask(features).softmax(1))
        if self.fails and self.error is not None:
            raise self.error
        loss = (self.head(shares)[:, 0] - target).square().mean()
        return {"loss": loss * self.blow if self.fails else loss}


class FailsAtTheThird(Hook):
    """Tells the model."""

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        runner.model.fails = runner.iter == 2


def test_scores_of_minus_infinity_are_no_fault(tmp_path: Path) -> None:
    runner = runner_with(tmp_path, FiniteStepsHook(), model=Masked())
    runner.train()
    assert runner.iter == 6


@pytest.mark.parametrize("error", [KeyError("gt_masks"), ValueError("no such mode")])
def test_an_error_is_not_blamed_on_scores_of_minus_infinity(error, tmp_path: Path) -> None:
    runner = runner_with(tmp_path, FiniteStepsHook("skip"), model=Masked(error))
    with pytest.raises(type(error), match=str(error.args[0])):
        runner.train()


def test_a_slip_of_the_code_stays_one_beside_a_nan(tmp_path: Path) -> None:
    """A matcher's ValueError is taken over there, see ``test_guard.py``."""
    runner = runner_with(tmp_path, FiniteStepsHook(), model=Masked(KeyError("gt"), value=NAN))
    with pytest.raises(KeyError, match="gt"):
        runner.train()


def test_any_error_of_an_input_of_nan_is_a_bad_step(tmp_path: Path) -> None:
    model = Masked(KeyError(3))
    runner = runner_with(tmp_path, Poison("input", [2], -INF), FiniteStepsHook(), model=model)
    with pytest.raises(NumericsError, match=r"KeyError: 3; .* input of data_preprocessor"):
        runner.train()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"value": NAN}, "not finite is the output of after. "),
     ({"blow": INF}, "output of the network, unless the -inf in the output of mask is no mask's")],
)  # fmt: skip
def test_the_fault_is_told_from_the_mask(options: dict, said: str, tmp_path: Path) -> None:
    runner = runner_with(tmp_path, FiniteStepsHook(), model=Masked(**options))
    with pytest.raises(NumericsError) as error:
        runner.train()
    assert said in str(error.value)


# --- hooks that look at the loss -----------------------------------------------------------------


class CheckInvalidLossHook(Hook):
    """As mmdet's of that name, at every step."""

    def __init__(self) -> None:
        self.calls = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.calls += 1
        assert torch.isfinite(outputs["loss"])


@pytest.mark.parametrize("counts", [1, 2])
def test_a_skipped_step_offends_no_hook_and_leaves_no_nan_in_the_log(
    counts: int, tmp_path: Path
) -> None:
    check, monitor = CheckInvalidLossHook(), _RunMonitorHook(lambda done, total: None)
    wrapper = {"optimizer": {"type": "SGD", "lr": 0.01}, "accumulative_counts": counts}
    hooks = (Poison("input", [2]), FiniteStepsHook("skip"), check)
    runner = runner_with(tmp_path, *hooks, optim_wrapper=wrapper)
    runner.register_hook(monitor)
    runner.train()
    assert runner.iter == len(monitor.step_seconds) == 6
    assert check.calls == 6 // counts - 1
    scalars = runner.message_hub.log_scalars
    assert len(scalars["train/loss"].data[0]) == 6 - counts
    for name, history in scalars.items():
        assert all(map(math.isfinite, history.data[0])), name
    # The hooks are their own again.
    assert not any("after_train_iter" in vars(hook) for hook in runner.hooks)


def test_a_repetition_is_the_same_if_losses_and_place_are() -> None:
    found = Finding(losses={"loss": NAN, "acc": 0.5}, loss=NAN, where="output of neck")
    assert found.same_as(found.plain())
    for changes in (
        {"where": "output of head"},
        {"loss": INF},
        {"losses": {"loss": NAN, "acc": 0.6}},
        {"losses": {"loss": NAN}},
    ):
        assert not replace(found, **changes).same_as(found.plain()), changes


class MeanTeacherHook(Hook):
    """Counts the steps that mmdet's hook of that name would move a teacher's weights by."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.steps.append(runner.iter)


def test_a_skipped_step_moves_no_teacher(tmp_path: Path) -> None:
    teacher = MeanTeacherHook()
    runner_with(tmp_path, Poison("input", [2]), FiniteStepsHook("skip"), teacher).train()
    assert teacher.steps == [0, 1, 3, 4, 5]


def test_without_a_guard_a_comparison_ends_at_a_loss_of_nan(tmp_path: Path) -> None:
    monitor = _RunMonitorHook(lambda done, total: None)
    runner = runner_with(tmp_path, Poison("input", [2]))
    runner.register_hook(monitor)
    with pytest.raises(NumericsError, match="the loss of iteration 3 is nan"):
        runner.train()
