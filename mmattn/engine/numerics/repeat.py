"""Repeat the batches of an optimiser step, without the step, and find what is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmattn.data.generators import generators_at
from mmattn.errors import one_line

from .plain_batch import image_names
from .watch import Watch, all_finite
from .window import Batch

# What a network returns in training.
_LOSSES = "output of the network"
# Places that are the input of all that follows, or the loss.
_FIRST_CAUSES = (
    "weight ", "loss itself", _LOSSES, *(f"input of {n or 'the network'}" for n in Watch.FIRST)
)  # fmt: skip
# What a network may raise that is given a nan.
_REFUSALS = (ValueError, RuntimeError, AssertionError, IndexError, ArithmeticError)
# No weight, and no loss, of a network that has learnt something is this large.
_FAR_TOO_LARGE = 1e6


@dataclass
class Finding:
    """The first number that is not finite in a repeated step.

    Attributes:
        losses: Name -> value of the losses of the first batch that is not finite, else of the last.
        loss: Their sum, as it was to be minimised; nan where the pass did not come so far.
        where: The first place that is not finite: a weight, an input, the output of a module, or a
            gradient; ``""`` where everything was finite.
        images: Paths or ids of the images of that batch.
        error: What the pass was ended by; ``""`` where it was not.
        iteration: Of the batch, from 0.
        largest_weight: Name and size of the largest weight.
    """

    losses: dict[str, float] = field(default_factory=dict)
    loss: float = math.nan
    where: str = ""
    images: list[str] = field(default_factory=list)
    error: str = ""
    iteration: int = 0
    largest_weight: tuple[str, float] = ("", 0.0)

    def plain(self) -> dict[str, Any]:
        """Return the finding as a dictionary of plain data."""
        return asdict(self)

    @property
    def bad(self) -> bool:
        """Whether something was not finite."""
        return bool(self.where)

    def explains(self, error: Exception) -> bool:
        """Return whether ``error`` is likely due to what was not finite.

        Of a weight, the input or the loss any error is; of numbers in between only such as matchers
        raise, and no slip of the code.
        """
        refuses = isinstance(error, _REFUSALS) and not isinstance(error, NotImplementedError)
        return self.where.startswith(_FIRST_CAUSES) or (self.bad and refuses)

    def describe(self) -> str:
        """Say what was found, in one line."""
        named = ", ".join(
            f"{name} {value:.6g}" for name, value in self.losses.items() if not math.isfinite(value)
        )
        parts = []
        if self.error and not self.losses:
            parts.append(f"the pass ended in {self.error}")
        else:
            parts.append(f"the loss is {self.loss:.6g}" + (f" ({named})" if named else ""))
        parts.append(f"the first that is not finite is the {self.where}" if self.where else
                     "everything was finite when the step was repeated")  # fmt: skip
        if self.images:
            shown = ", ".join(self.images[:8])
            more = f" and {len(self.images) - 8} more" if len(self.images) > 8 else ""
            parts.append(f"the images are {shown}{more}")
        name, size = self.largest_weight
        if size > _FAR_TOO_LARGE:
            parts.append(f"{name} goes up to {size:.3g}: the learning rate is likely too high")
        elif _FAR_TOO_LARGE < abs(self.loss) < math.inf:
            parts.append("so large a loss says that the learning rate is likely too high")
        return "; ".join(parts)

    def same_as(self, other: Mapping[str, Any]) -> bool:
        """Return whether another finding, as plain data, is about the same loss and place."""
        losses = other["losses"]
        return (
            self.where == other["where"]
            and _same(self.loss, other["loss"])
            and self.losses.keys() == losses.keys()
            and all(_same(value, losses[name]) for name, value in self.losses.items())
        )


def _same(first: float, second: float) -> bool:
    both_nan = math.isnan(first) and math.isnan(second)
    return both_nan or first == second or math.isclose(first, second, rel_tol=1e-4, abs_tol=1e-6)


def repeat_step(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    autocast: tuple[str, str] | None = None,
    before_batch: Callable[[Batch], None] = lambda batch: None,
) -> Finding:
    """Pass batches forward and backward and find the first number that is not finite.

    Weights keep their values; gradients are dropped; buffers move as in training.

    Args:
        model: Network in training mode, its buffers as in front of the first batch.
        batches: Batches of one step, in their order.
        autocast: Device type and name of the type of mixed precision; None for none.
        before_batch: Called in front of each.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    model.zero_grad(set_to_none=True)
    finding = Finding()
    try:
        for batch in batches:
            before_batch(batch)
            one = _pass(model, batch, device, autocast)
            finding = finding if finding.bad else one
            # Otherwise all of them, as in the other processes, which may wait for this one inside.
            if one.error:
                break
        if not finding.bad and not finding.error:
            finding.where = _overflow(model)
        finding.where = bad_weight(model) or finding.where  # whatever came of it
        finding.largest_weight = _largest_weight(model)
    finally:
        model.zero_grad(set_to_none=True)
    return finding


def _pass(
    model: nn.Module, batch: Batch, device: torch.device, autocast: tuple[str, str] | None
) -> Finding:
    finding = Finding(images=image_names(batch.data), iteration=batch.iteration)
    optimizer = _OnlyBackward(autocast, batch.factor)
    outputs: Mapping[str, Any] = {}
    with generators_at(batch.generators, device), _eager(), Watch(model) as watch:
        try:
            # The class's own: an instance may carry the step that is being watched.
            outputs = type(model).train_step(model, batch.data, optimizer)  # type: ignore
        except Exception as error:  # whatever a network makes of a nan
            finding.error = one_line(error)
    finding.losses = {
        str(name): float(value.detach() if isinstance(value, Tensor) else value)
        for name, value in (outputs or {}).items()
        if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
    }
    finding.loss = optimizer.loss
    bad_loss = optimizer.called and not math.isfinite(optimizer.loss)
    if bad_loss and watch.masked and watch.forward in ("", _LOSSES):
        loss = watch.forward or "loss itself"
        finding.where = f"{loss}, unless the -inf in the {watch.masked} is no mask's"
    else:
        finding.where = watch.forward or watch.backward
    if not finding.where and bad_loss:
        finding.where = "loss itself, computed from finite outputs"
    return finding


def bad_weight(model: nn.Module) -> str:
    """Name the first weight of a model that is not finite, as a place; ``""`` for none."""
    bad = next((n for n, p in model.named_parameters() if not all_finite(p.detach())), "")
    return f"weight {bad}, which the step began with" if bad else ""


def _largest_weight(model: nn.Module) -> tuple[str, float]:
    sizes = {
        name: float(parameter.detach().abs().max())
        for name, parameter in model.named_parameters()
        if parameter.numel()
    }
    name = max(sizes, key=lambda name: sizes[name], default="")
    return name, sizes.get(name, 0.0)


def _overflow(model: nn.Module) -> str:
    """Name the largest gradient, where the norm of all of them overflows; else return ``""``."""
    sizes = {
        name: parameter.grad.abs().max()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.numel()
    }
    if not sizes:
        return ""
    name = max(sizes, key=lambda name: float(sizes[name]))
    norm = gradient_norm([p.grad for p in model.parameters() if p.grad is not None])
    if math.isfinite(float(norm)):
        return ""
    return f"norm of all gradients, of which {name}'s goes up to {float(sizes[name]):.3g}"


@torch.no_grad()
def gradient_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all gradients together, a float32 tensor on their device.

    It is finite if and only if every gradient is, and their squares do not overflow, which would
    spoil the optimiser's averages of squares.
    """
    if not gradients:
        return torch.zeros(())
    dense = [g.coalesce().values() if g.is_sparse else g for g in gradients]
    return torch.nn.utils.get_total_norm(dense).float()


class _OnlyBackward:
    """Stands in for the optimiser wrapper: everything but the step."""

    def __init__(self, autocast: tuple[str, str] | None, factor: float):
        self.autocast, self.factor, self.loss = autocast, factor, math.nan
        self.called = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        context = nullcontext()
        if self.autocast is not None:
            context = torch.autocast(self.autocast[0], dtype=getattr(torch, self.autocast[1]))
        with context:
            yield

    def update_params(self, loss: Tensor, **_) -> None:
        self.loss, self.called = float(loss.detach()), True
        self.backward(loss * self.factor)

    def backward(self, loss: Tensor, **_) -> None:
        if not self.called:
            self.loss, self.called = float(loss.detach()), True
        loss.backward()

    def scale_loss(self, loss: Tensor) -> Tensor:
        return loss * self.factor

    def step(self, **_) -> None:
        """Leave the weights alone."""

    def zero_grad(self, **_) -> None:
        """Keep the gradients, which are looked at afterwards."""

    def should_update(self) -> bool:
        return False

    def should_sync(self) -> bool:
        return True


@contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules as they are written, so that hooks see all of them."""
    stance = getattr(torch.compiler, "set_stance", None)
    with nullcontext() if stance is None else stance("force_eager"):
        yield
