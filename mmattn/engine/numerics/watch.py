"""Find the first place in a pass forward and backward at which a number is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Watch:
    """Watch every module of a network while the block runs.

    Attributes:
        forward: Where the first output, or input, that holds nan or +inf was seen; ``""`` for
            nowhere. Of the network's own input, -inf too.
        masked: Where the first one was that holds -inf alone, as scores that are masked do on
            purpose.
        backward: As ``forward``, for gradients that are not finite.
    """

    #: Modules, by name, whose input is that of the network.
    FIRST = ("", "data_preprocessor")

    def __init__(self, model: nn.Module):
        self.model = model
        self.forward = ""
        self.masked = ""
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
            self._note(given, f"input of {name or 'the network'}", name not in self.FIRST)
            for tensor in _tensors(given):
                if tensor.requires_grad:
                    self._handles.append(tensor.register_hook(self._input(name, id(tensor))))

        return hook

    def _behind(self, name: str):
        def hook(module: nn.Module, args: tuple, output: Any) -> None:
            self._note(output, f"output of {name or 'the network'}")
            for tensor in _tensors(output):
                if tensor.requires_grad:
                    self._handles.append(tensor.register_hook(self._output(name, id(tensor))))

        return hook

    def _note(self, value: Any, place: str, may_be_masked: bool = True) -> None:
        if self.forward or all_finite(value):
            return
        if not may_be_masked or not all(_only_masked(tensor) for tensor in _tensors(value)):
            self.forward = place
        elif not self.masked:
            self.masked = place

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


def _only_masked(tensor: Tensor) -> bool:
    """Return whether nothing but -inf is not finite in ``tensor``."""
    if tensor.is_complex():
        return bool(torch.isfinite(tensor).all())
    return bool((tensor < math.inf).all())


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
