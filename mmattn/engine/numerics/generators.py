"""The state of every global generator of random numbers, as plain data."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator_states(device: torch.device) -> dict[str, Any]:
    """Return the states of ``random``, numpy and torch, and of a CUDA device's generator.

    Takes some 30 microseconds and waits for no GPU.
    """
    states: dict[str, Any] = {
        "random": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


@contextmanager
def generators_at(states: Mapping[str, Any], device: torch.device) -> Iterator[None]:
    """Put the generators into ``states`` inside, and back to where they were afterwards."""
    before = generator_states(device)
    _set(states, device)
    try:
        yield
    finally:
        _set(before, device)


def plain_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``states`` as tensors, numbers and tuples, which ``weights_only`` reads."""
    name, keys, *rest = states["numpy"]
    return {**states, "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest)}


def _set(states: Mapping[str, Any], device: torch.device) -> None:
    version, numbers, gauss = states["random"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.asarray(keys).astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
