"""Find the first place in a pass forward and backward at which a number is not finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Watch:
    """Watch every module of a network while the block runs.

    Attributes:
        forward: Where the first output, or input, that is not finite was seen; ``""`` for nowhere.
        backward: The same for gradients.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.forward = ""
        self.backward = ""
        self._handles: list[Any] = []
        # Of the first gradient that is not finite: its tensor's number, and who used the tensor.
        self._gradient: int | None = None
        self._users: list[str] = []

    def __enter__(self) -> Watch:
        for name, module in self.model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._before(name), with_kwargs=True),
                module.register_forward_hook(self._behind(name)),
            ]
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                self._handles.append(parameter.register_hook(self._parameter(name)))
        return self

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()
        if self._users:
            # Containers are handed the same tensor as their first parts: the parts tell more.
            parts = [
                user
                for user in dict.fromkeys(self._users)
                if not any(other.startswith(f"{user}.") for other in self._users)
            ]
            self.backward = f"gradient of the input of {' or '.join(parts[:3])}"

    def _before(self, name: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            # Masks of attention hold -inf on purpose.
            given = [*args, *(value for key, value in kwargs.items() if "mask" not in key)]
            if not self.forward and not all_finite(given):
                self.forward = f"input of {name or 'the network'}"
            for tensor in _tensors(given):
                if tensor.requires_grad:
                    self._handles.append(tensor.register_hook(self._input(name, id(tensor))))

        return hook

    def _behind(self, name: str):
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            if not self.forward and not all_finite(output):
                self.forward = f"output of {name or 'the network'}"
            for tensor in _tensors(output):
                if tensor.requires_grad:
                    self._handles.append(tensor.register_hook(self._output(name, id(tensor))))

        return hook

    def _output(self, name: str, number: int):
        def hook(gradient: Tensor) -> None:
            if not self.backward and not all_finite(gradient):
                self.backward = f"gradient of the output of {name or 'the network'}"
                self._gradient = number

        return hook

    def _input(self, name: str, number: int):
        def hook(gradient: Tensor) -> None:
            if all_finite(gradient):
                return
            if not self.backward:
                self.backward, self._gradient = f"gradient of the input of {name}", number
            if self._gradient == number and name:
                self._users.append(name)

        return hook

    def _parameter(self, name: str):
        def hook(gradient: Tensor) -> None:
            if not self.backward and not all_finite(gradient):
                self.backward = f"gradient of {name}"

        return hook


def all_finite(value: Any) -> bool:
    """Return whether all floating-point tensors in ``value`` are free of nan and infinity."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point() or value.is_complex():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
