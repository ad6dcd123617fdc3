"""What the batches of one optimiser step change beside gradients, so that it can be put back.

A forward pass in training moves buffers, such as the running statistics of a batch norm. Where
gradients are accumulated over several batches, averaged weights and schedules move as well before
the step is known to be bad. All of it is copied before the first batch of a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmattn.data.generators import generator_states

from .plain_batch import data_samples

if TYPE_CHECKING:
    from mmengine.runner import Runner


class SavedTensors:
    """A copy of tensors, made anew in place: a few calls for hundreds of small ones."""

    def __init__(self) -> None:
        self._tensors: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._groups: list[tuple[list[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def save(self, tensors: list[Tensor]) -> None:
        """Copy ``tensors``; those of the last time are copied into the same memory."""
        same = len(tensors) == len(self._tensors) and all(
            new is old for new, old in zip(tensors, self._tensors, strict=True)
        )
        if same and all(
            tensor.shape == copy.shape for tensor, copy in zip(tensors, self._copies, strict=True)
        ):
            for originals, copies in self._groups:
                torch._foreach_copy_(copies, originals)
            return
        self._tensors = list(tensors)
        self._copies = [tensor.detach().clone() for tensor in tensors]
        # Copies of mixed types would be made one by one.
        groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
        for tensor, copy in zip(tensors, self._copies, strict=True):
            originals, copies = groups[tensor.dtype, tensor.device]
            originals.append(tensor)
            copies.append(copy)
        self._groups = list(groups.values())

    @torch.no_grad()
    def restore(self) -> None:
        """Give the tensors the values they had."""
        for tensor, copy in zip(self._tensors, self._copies, strict=True):
            if tensor.shape != copy.shape:
                tensor.data = copy.clone()
        for originals, copies in self._groups:
            torch._foreach_copy_(originals, copies)

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors themselves."""
        return self._tensors

    @property
    def copies(self) -> list[Tensor]:
        """The values, in the order of the tensors."""
        return self._copies


@dataclass
class Batch:
    """One pass forward and backward.

    Attributes:
        data: What the data loader gave.
        generators: States of the generators of random numbers in front of the pass.
        augments: Attributes of the preprocessor's batch augmentations in front of the pass.
        iteration: Of the runner, from 0.
        loss: What ``backward`` was called on; None before.
        factor: What the loss was multiplied with, for accumulated gradients.
    """

    data: Any
    generators: dict[str, Any]
    augments: list[dict[str, Any]]
    iteration: int
    loss: Tensor | None = None
    factor: float = 1.0


@dataclass
class Window:
    """The batches of one optimiser step, and the state in front of them.

    Args:
        model: Network, without the wrapper of a distributed run.
        runner: Runner of the training.
        accumulates: Whether there are several batches to a step.
    """

    model: nn.Module
    runner: Runner
    accumulates: bool
    batches: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._places = [
            (module, name, prefix)
            for prefix, module in self.model.named_modules()
            for name in module._buffers
        ]
        self._present: list[tuple[nn.Module, str, str]] = []
        self._buffers, self._averages = SavedTensors(), SavedTensors()
        self._schedules: list[tuple[Any, dict[str, Any]]] = []
        self._rates: list[dict[str, Any]] = []
        self._epoch = 0
        preprocessor = getattr(self.model, "data_preprocessor", None)
        self._augments: list[nn.Module] = list(getattr(preprocessor, "batch_augments", None) or ())
        self._device = next((p.device for p in self.model.parameters()), torch.device("cpu"))

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self._device

    def add(self, data: Any) -> None:
        """Take up the batch that is about to be passed through the network."""
        if not self.batches:
            self._buffers.save(self._current_buffers())
            if self.accumulates:
                self._save_averages_and_schedules()
        # On the CPU augmentations of a whole batch change the boxes of the samples in place.
        if self._augments and self._device.type == "cpu":
            data = _with_own_samples(data)
        self.batches.append(
            Batch(
                data,
                generator_states(self._device),
                self.augment_attributes(),
                self.runner.iter,
            )
        )

    def close(self) -> None:
        """Forget the batches: their step is done."""
        self.batches = []

    def restore(self) -> None:
        """Put everything back to where it was in front of the first batch."""
        self.restore_buffers()
        if self.accumulates:
            self._averages.restore()
            if self.runner.epoch != self._epoch:
                return  # an epoch has ended since, which schedules by epoch count rightly
            for scheduler, state in self._schedules:
                scheduler.load_state_dict(deepcopy(state))
            for group, rates in zip(self._param_groups(), self._rates, strict=True):
                group.update(rates)

    def restore_buffers(self) -> None:
        """Put the buffers back, in value and place: a module may have assigned a new tensor."""
        for module, name, _ in self._places:
            if isinstance(module._buffers.get(name), Tensor):
                module._buffers[name] = None  # unless it was there before
        for (module, name, _), tensor in zip(self._present, self._buffers.tensors, strict=True):
            module._buffers[name] = tensor
        self._buffers.restore()

    def buffers(self) -> dict[str, Tensor]:
        """Return name -> value in front of the first batch, of all buffers."""
        names = [f"{prefix}.{name}" if prefix else name for _, name, prefix in self._present]
        return dict(zip(names, self._buffers.copies, strict=True))

    def augment_attributes(self) -> list[dict[str, Any]]:
        """Return the plain attributes of the preprocessor's batch augmentations."""
        return [plain_attributes(module) for module in self._augments]

    def set_augments(self, attributes: list[dict[str, Any]]) -> None:
        """Give the batch augmentations the attributes that they had."""
        for module, values in zip(self._augments, attributes, strict=True):
            vars(module).update(values)

    def _current_buffers(self) -> list[Tensor]:
        # Some are None until, or from, some step.
        found = [(place, place[0]._buffers.get(place[1])) for place in self._places]
        self._present = [place for place, tensor in found if tensor is not None]
        return [tensor for _, tensor in found if tensor is not None]

    def _save_averages_and_schedules(self) -> None:
        self._epoch = self.runner.epoch
        averages = [
            hook.ema_model for hook in self.runner.hooks if getattr(hook, "ema_model", None)
        ]
        self._averages.save(
            [t for model in averages for t in (*model.parameters(), *model.buffers())]
        )
        self._schedules = [(s, deepcopy(s.state_dict())) for s in self._schedulers()]
        self._rates = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self._param_groups()
        ]

    def _schedulers(self) -> list[Any]:
        schedulers = self.runner.param_schedulers or []
        if isinstance(schedulers, Mapping):
            return [one for group in schedulers.values() for one in group]
        return list(schedulers)

    def _param_groups(self) -> list[dict[str, Any]]:
        return self.runner.optim_wrapper.param_groups


def plain_attributes(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a module that are numbers, strings or short tuples of these.

    Heads and augmentations count steps, or are switched, by such attributes.
    """
    return {name: value for name, value in vars(module).items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= 8 and all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str)


def _with_own_samples(data: Any) -> Any:
    """Return ``data`` with copies of its data samples; images are shared."""
    from mmengine.structures import BaseDataElement

    if isinstance(data, BaseDataElement):
        return deepcopy(data)
    if isinstance(data, Mapping):
        return {key: _with_own_samples(item) for key, item in data.items()}
    if isinstance(data, list) and any(True for _ in data_samples(data)):
        return [_with_own_samples(item) for item in data]
    return data
