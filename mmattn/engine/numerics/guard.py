"""Check loss and gradients in front of every optimiser step; a bad one never reaches the weights.

The losses of a step and the norm of its gradients, which clipping computes anyway, are read in a
single transfer. In several processes, the factor

    1 + 0 * loss

multiplies what is differentiated: 1 for a finite loss, nan otherwise, so that the sum of the
gradients tells every process, and all of them take the same decision without a word more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmattn.bridge.checkpoints import unwrapped
from mmattn.config.numerics import NumericsSettings
from mmattn.engine.sharding.model import FullyShardedModel
from mmattn.engine.sharding.parts import whole
from mmattn.errors import MMAttnError, NumericsError, one_line

from .bad_step import write_bad_step
from .repeat import Finding, bad_weight, gradient_norm, repeat_step, seen_step
from .window import Batch, Window, plain_attributes

if TYPE_CHECKING:
    from mmengine.runner import Runner

# Errors behind which the device cannot be used, or that have nothing to do with numbers.
_NOT_NUMERIC = (MMAttnError, MemoryError, torch.OutOfMemoryError, OSError)


class _BadStep(Exception):
    """Leaves the optimiser wrapper's ``step`` before it steps."""


class StepGuard:
    """Watches the steps of one runner, from ``install`` to ``remove``.

    Args:
        runner: Runner whose optimiser wrapper is built.
        settings: What happens to a bad step.

    Attributes:
        skipped: Whether the step of this iteration was left out.
        in_a_row: Steps left out one after the other so far.
    """

    def __init__(self, runner: Runner, settings: NumericsSettings):
        self.runner, self.settings = runner, settings
        self.wrapper: OptimWrapper = runner.optim_wrapper
        self.model: nn.Module = unwrapped(runner.model)
        self.window = Window(self.model, runner, self.wrapper._accumulative_counts > 1)
        self.scaler = getattr(self.wrapper, "loss_scaler", None)
        self.skipped = False
        self.in_a_row = 0
        self._scaler_skips = 0
        self._stepped = True
        self._found_inf: Tensor | None = None
        self._saved = False
        self._synchronised = isinstance(runner.model, nn.parallel.DistributedDataParallel)
        self._sharded = isinstance(runner.model, FullyShardedModel)
        self._norm: Tensor | None = None
        self._undo: list[Callable[[], Any]] = []

    @property
    def undecided(self) -> bool:
        """Whether the step of the latest batch, of accumulated gradients, is still to come."""
        return bool(self.window.batches)

    # --- in and out of the runner ------------------------------------------------------------

    def install(self) -> None:
        """Take the place of the model's ``train_step`` and the wrapper's ``step``."""
        self._train_step = self.runner.model.train_step
        self._backward, self._step = self.wrapper.backward, self.wrapper.step
        self._replace(self.runner.model, "train_step", self.train_step)
        self._replace(self.wrapper, "backward", self.backward)

        def step(**kwargs: Any) -> None:
            self.step(**kwargs)

        step._with_counter = True  # schedulers warn of a step that does not count; ours calls it
        self._replace(self.wrapper, "step", step)
        if self._clips_the_norm():
            self._replace(self.wrapper, "_clip_grad", self._check_and_clip)
        if self.scaler is not None:
            handle = self.wrapper.optimizer.register_step_pre_hook(self._note_step)
            self._undo.append(handle.remove)

    def remove(self) -> None:
        """Put everything back."""
        while self._undo:
            self._undo.pop()()

    def _replace(self, holder: Any, name: str, function: Callable) -> None:
        before = vars(holder).get(name)  # such as a compiled one
        setattr(holder, name, function)
        self._undo.append(
            (lambda: delattr(holder, name)) if before is None
            else (lambda: setattr(holder, name, before))
        )  # fmt: skip

    def _clips_the_norm(self) -> bool:
        own = type(self.wrapper)._clip_grad is OptimWrapper._clip_grad
        norm = getattr(self.wrapper, "clip_func", None) is torch.nn.utils.clip_grad_norm_
        return bool(self.wrapper.clip_grad_kwargs) and own and norm and self.scaler is None

    # --- one iteration -----------------------------------------------------------------------

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Take a step as the model does, and explain an error that a bad number has caused."""
        self.skipped = False
        self.window.add(data)
        try:
            return self._train_step(data, optim_wrapper=optim_wrapper)
        except _NOT_NUMERIC:
            raise
        except Exception as error:
            if not self._explain(error):
                raise
            return {"loss": torch.full((), math.nan, device=self.window.device)}

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Go backward, with gradients of nan if the loss of this process is not finite."""
        if self.window.batches:
            batch = self.window.batches[-1]
            batch.loss = loss.detach()
            batch.factor = 1 / self.wrapper._accumulative_counts
        if get_world_size() > 1:
            loss = loss * (loss.detach() * 0 + 1)
        self._backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Step, unless loss or gradients are not finite."""
        self._norm = None
        self._stepped, self._found_inf = False, None
        try:
            if not self._clips_the_norm():
                self._check(gradient_norm([p.grad for p in self._parameters()]))
            self._step(**kwargs)
        except _BadStep:
            self._drop()
        else:
            self.in_a_row = 0
            if self.scaler is not None:
                self._count_scaler_skips()
        self.window.close()

    def _check_and_clip(self) -> None:
        """Take the place of the wrapper's ``_clip_grad``, and of its transfer of the norm."""
        parameters = self._parameters()
        if not parameters:
            return self._check(torch.zeros(()))
        norm = self.wrapper.clip_func(parameters, **self.wrapper.clip_grad_kwargs)
        value = self._check(norm)
        self.wrapper.message_hub.update_scalar(f"train/{self.wrapper.grad_name}", value)
        return None

    def _parameters(self) -> list[nn.Parameter]:
        groups = self.wrapper.optimizer.param_groups
        return [p for group in groups for p in group["params"]
                if p.requires_grad and p.grad is not None]  # fmt: skip

    def _check(self, norm: Tensor) -> float:
        """Return the norm, if it and the losses are finite.

        Raises:
            _BadStep: They are not.
        """
        losses = [b.loss for b in self.window.batches if b.loss is not None]
        numbers = [whole(norm.detach()), *(loss.mean() for loss in losses)]
        *_, device = (number.device for number in numbers)
        value, *rest = torch.stack([n.to(device, torch.float32) for n in numbers]).tolist()
        bad_loss = not all(map(math.isfinite, rest))
        bad = bad_loss or not math.isfinite(value)
        if self.scaler is not None:
            # Gradients that overflow are the scaler's; a loss that is not finite is nobody's.
            bad = _any_rank(bad_loss) if bad and get_world_size() > 1 else bad_loss
        elif get_world_size() > 1 and not self._synchronised:
            bad = _any_rank(bad)
        if bad:
            raise _BadStep
        return value

    # --- the loss scaler ---------------------------------------------------------------------

    def _note_step(self, optimizer: Any, *_: Any) -> None:
        self._stepped = True
        self._found_inf = getattr(optimizer, "found_inf", None)  # of fused optimisers

    def _count_scaler_skips(self) -> None:
        stepped = self._stepped and not (self._found_inf is not None and bool(self._found_inf))
        self._scaler_skips = 0 if stepped else self._scaler_skips + 1
        if self._scaler_skips >= self.settings.max_scaler_skips:
            self._scaler_skips = 0
            self._drop(
                f"the loss scaler has left out {self.settings.max_scaler_skips} steps in a row "
                f"(its scale is {self.scaler.get_scale():.3g}), which is no search for a scale any "
                "more", must_stop=True,
            )  # fmt: skip

    # --- a bad step --------------------------------------------------------------------------

    def _drop(
        self,
        why: str = "",
        *,
        must_stop: bool = False,
        found: dict[int, Finding] | None = None,
        cause: Exception | None = None,
    ) -> None:
        """Leave the step out, or end the run.

        Raises:
            NumericsError: The policy says so.
        """
        found = found or self._look_for_cause()
        self.wrapper.zero_grad()
        self.skipped = True
        self.in_a_row += 1
        limit = self.settings.max_in_a_row
        skips = self.settings.policy == "skip"
        stops = must_stop or not skips or self.in_a_row > limit
        saved = self._save(found) if stops or not self._saved else ""
        self._saved = True
        text = self._text(found, why)
        if not stops:
            text = f"{text}. The step is left out, {self.in_a_row} of {limit} in a row"
            self.runner.logger.warning(f"{text}.{saved and f' {saved}'}")
            return
        row = f", and so were the {limit} steps before it" if self.in_a_row > limit else ""
        raise NumericsError(
            f"{text}{row if skips else ''}. The step was not taken: weights, buffers and "
            f"optimiser are those of before. {saved}"
        ) from cause

    def _explain(self, error: Exception) -> bool:
        """Treat an error that a bad number has caused as the bad step that it is.

        In several processes nothing is repeated, which the others would have to take part in, and
        nothing is left out there, nor where gradients are accumulated: the pass was not finished.

        Returns:
            Whether the step is left out; False if the error has another cause.

        Raises:
            NumericsError: The policy says so.
        """
        alone = get_world_size() == 1
        if alone:
            try:
                finding = self._repeat()
            except Exception:  # the device is lost, say: the first error is the one to read
                return False
        else:
            where = bad_weight(self.model)
            finding = Finding(where=where, error=one_line(error), iteration=self.runner.iter)
        if not finding.explains(error):
            return False
        self.window.restore()
        self._drop(
            found={get_rank(): finding},
            must_stop=not alone or self.window.accumulates,
            cause=error,
        )
        self.wrapper._inner_count += 1  # as its backward pass would have done
        self.window.close()
        return True

    def _look_for_cause(self) -> dict[int, Finding]:
        """Repeat the step in every process, and return what each of them has found.

        With a sharded model a pass takes all processes, of which one may end in an error: nothing
        is repeated.
        """
        sharded = self._sharded
        finding = seen_step(self.model, self.window.batches) if sharded else self._repeat()
        self.window.restore()
        found: list[Any] = [finding] * get_world_size()
        if len(found) > 1:
            torch.distributed.all_gather_object(found, finding)
        if sharded and not any(one.bad for one in found):
            for one in found:
                one.where = "norm of all gradients"
        return dict(enumerate(found))

    def _repeat(self) -> Finding:
        window, model = self.window, self.model
        attributes = {module: plain_attributes(module) for module in model.modules()}
        augments = window.augment_attributes()
        window.restore_buffers()

        def before(batch: Batch) -> None:
            window.set_augments(batch.augments)

        try:
            return repeat_step(
                model, window.batches, autocast=autocast_of(self.wrapper), before_batch=before
            )
        finally:
            for module, values in attributes.items():
                vars(module).update(values)
            window.set_augments(augments)
            window.restore_buffers()

    def _save(self, found: dict[int, Finding]) -> str:
        """Write this process's part of the step, if it is to blame, and say where."""
        if self._sharded:
            return "The step of a sharded model is not saved for a repetition."
        rank = get_rank()
        blamed = [r for r, finding in found.items() if finding.bad] or [0]
        name = f"iter_{self.runner.iter + 1}" + (f"_rank{rank}" if get_world_size() > 1 else "")
        path = Path(self.runner.work_dir, "bad_steps", f"{name}.pth")
        if rank in blamed and rank in found:
            try:
                write_bad_step(
                    path,
                    runner=self.runner,
                    model=self.model,
                    batches=self.window.batches,
                    buffers=self.window.buffers(),
                    autocast=autocast_of(self.wrapper),
                    rank=rank,
                    finding=found[rank],
                )
            except OSError as error:
                return f"It could not be saved for a repetition: {one_line(error)}."
        elif rank not in found:
            return ""
        first = path.with_name(path.name.replace(f"_rank{rank}", f"_rank{blamed[0]}"))
        return f"Repeat it with: mmattn replay {first}"

    def _text(self, found: dict[int, Finding], why: str) -> str:
        step = self.runner.iter + 1
        blamed = {rank: finding for rank, finding in found.items() if finding.bad} or found
        if get_world_size() == 1:
            said = next(iter(blamed.values())).describe()
        else:
            said = "; ".join(f"in rank {r}, {f.describe()}" for r, f in list(blamed.items())[:4])
        return f"step {step}: {why}; {said}" if why else f"step {step}: {said}"


def autocast_of(wrapper: Any) -> tuple[str, str] | None:
    """Return device type and data type of a wrapper's mixed precision; None for none."""
    from mmengine.optim import AmpOptimWrapper

    from mmattn.engine.amp import CPUAmpOptimWrapper

    if isinstance(wrapper, CPUAmpOptimWrapper):
        return "cpu", "bfloat16"
    if isinstance(wrapper, AmpOptimWrapper):
        from mmengine.device import get_device

        device = get_device()
        dtype = wrapper.cast_dtype or torch.get_autocast_dtype(device)
        return device, str(dtype).removeprefix("torch.")
    return None


def _any_rank(bad: bool) -> bool:
    from mmengine.dist import all_reduce
    from mmengine.dist.utils import get_comm_device

    flag = torch.tensor([float(bad)], device=get_comm_device())
    all_reduce(flag, "max")
    return bool(flag)
