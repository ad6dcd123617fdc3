"""Keep numbers that are not finite out of weights, averages, schedules and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from mmattn.bridge.checkpoints import unwrapped
from mmattn.config.numerics import NumericsSettings
from mmattn.engine.numerics.guard import StepGuard
from mmattn.errors import NumericsError
from mmattn.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

#: Hooks that move something behind each step: averaged weights, schedules, a teacher's weights.
_AFTER_A_STEP = ("EMAHook", "ParamSchedulerHook", "MeanTeacherHook")
#: Hooks that end the training at a loss that is not finite, which the guard decides.
_LOSS_CHECKS = ("CheckInvalidLossHook",)
#: Hooks that take the losses into the log.
_LOGS = ("RuntimeInfoHook",)


@HOOKS.register_module()
class FiniteStepsHook(Hook):
    """Check loss and gradients before each optimiser step, and weights before each checkpoint.

    A bad step ends the training (exit code 5) or, by ``policy="skip"``, is left out: weights,
    buffers, optimiser, averaged weights and schedules are as if its images had never come. What it
    began with is written to ``bad_steps`` in the run's folder, for ``mmattn replay``.

    Args:
        policy: ``"stop"`` or ``"skip"``.
        max_in_a_row: Steps that ``"skip"`` leaves out one after the other; one more ends the run.
        max_scaler_skips: Steps that the loss scaler of float16 may leave out one after the other.

    Raises:
        ConfigError: An argument is none of these.
    """

    priority = "LOWEST"  # behind EMAHook, which puts averaged weights into a checkpoint

    def __init__(
        self, policy: str = "stop", max_in_a_row: int = 5, max_scaler_skips: int = 100
    ) -> None:
        self.settings = NumericsSettings(policy, max_in_a_row, max_scaler_skips)
        self.guard: StepGuard | None = None
        self._held: list[tuple[Hook, Callable]] = []
        self._never_finite: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Begin to guard the steps of ``runner``."""
        model = unwrapped(runner.model)
        # Such as the causal mask of a text encoder.
        self._never_finite = {name for name, buffer in model.named_buffers() if not _finite(buffer)}
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper) or isinstance(wrapper, OptimWrapperDict):
            runner.logger.warning(
                f"Steps with {type(wrapper).__name__} are not checked for numbers that are not "
                "finite: only those of a single OptimWrapper of mmengine, or a subclass, are."
            )
            return
        self.guard = StepGuard(runner, self.settings)
        self.guard.install()
        for hook in runner.hooks:
            names = {cls.__name__ for cls in type(hook).__mro__}
            if names.intersection(_AFTER_A_STEP):
                self._hold(hook, self.guard, _unless_skipped)
            elif names.intersection(_LOSS_CHECKS):
                self._hold(hook, self.guard, _unless_guarded)
            elif names.intersection(_LOGS):
                self._hold(hook, self.guard, _log_what_counts)

    def after_train(self, runner: Runner) -> None:
        """Leave the runner as it was."""
        self.release()

    def release(self) -> None:
        """Take the guard away."""
        if self.guard is not None:
            self.guard.remove()
            self.guard = None
        for hook, _ in self._held:
            del hook.after_train_iter
        self._held.clear()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse to write weights that are not finite.

        Raises:
            NumericsError: They are not; earlier checkpoints stay.
        """
        for part in ("state_dict", "ema_state_dict"):
            weights = checkpoint.get(part) or {}
            bad = [
                name
                for name, value in weights.items()
                if isinstance(value, Tensor)
                and name.removeprefix("module.") not in self._never_finite
                and not _finite(value)
            ]
            if bad:
                kept = runner.message_hub.runtime_info.get("last_ckpt")
                raise NumericsError(
                    f"step {runner.iter}: no checkpoint is written, because {len(bad)} of "
                    f"{len(weights)} weights hold nan or infinity, such as {bad[0]}. A learning "
                    "rate that is far too high does this within one step."
                    + (f" The last checkpoint is {kept}." if kept else "")
                )

    def _hold(self, hook: Hook, guard: StepGuard, hold: Callable[..., None]) -> None:
        original = hook.after_train_iter

        def after_train_iter(
            runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            given = {"batch_idx": batch_idx, "data_batch": data_batch}
            hold(guard, lambda outputs: original(runner, outputs=outputs, **given), outputs)

        hook.after_train_iter = after_train_iter  # type: ignore[method-assign]
        self._held.append((hook, original))


def _unless_skipped(guard: StepGuard, call: Callable[[Any], None], outputs: Any) -> None:
    if not guard.skipped:
        call(outputs)


def _unless_guarded(guard: StepGuard, call: Callable[[Any], None], outputs: Any) -> None:
    if not guard.skipped and not guard.undecided:
        call(outputs)


def _log_what_counts(guard: StepGuard, call: Callable[[Any], None], outputs: Any) -> None:
    """Leave out the losses of a skipped step, which smoothed ones would carry along."""
    if guard.skipped:
        outputs = None
    elif guard.undecided and outputs is not None:
        outputs = {key: value for key, value in outputs.items() if _is_finite_number(value)}
    call(outputs)


def _is_finite_number(value: Any) -> bool:
    return _finite(value) if isinstance(value, Tensor) else bool(np.isfinite(value).all())


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())
