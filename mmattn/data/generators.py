"""The global generators of random numbers: seed them, keep their states, put them back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_CPU = torch.device("cpu")


def seed_generators(*key: int) -> int:
    """Seed the global generators of ``random``, numpy and torch's CPU with what follows from key.

    Args:
        key: Any numbers that are not negative.

    Returns:
        The seed that torch got, for the generators of other devices.
    """
    words = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.random.default_generator.manual_seed(int(words[2]))
    return int(words[2])


@contextmanager
def seeded_generators(*key: int, device: torch.device | None = None) -> Iterator[None]:
    """Let the global generators follow from ``key`` inside, and be what they were afterwards.

    Args:
        key: Any numbers.
        device: Whose generator is seeded beside those of the CPU, if it is a CUDA device.
    """
    device = _CPU if device is None else device
    before = generator_states(device)
    try:
        seed = seed_generators(*key)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
    finally:
        set_generator_states(before, device)


def generator_states(device: torch.device = _CPU) -> dict[str, Any]:
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


def set_generator_states(states: Mapping[str, Any], device: torch.device = _CPU) -> None:
    """Put the generators into states that ``generator_states`` returned, or a file holds."""
    version, numbers, gauss = states["random"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.asarray(keys).astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def generators_at(states: Mapping[str, Any], device: torch.device) -> Iterator[None]:
    """Put the generators into ``states`` inside, and back to where they were afterwards."""
    before = generator_states(device)
    set_generator_states(states, device)
    try:
        yield
    finally:
        set_generator_states(before, device)


def plain_states(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``states`` as tensors, numbers and tuples, which ``weights_only`` reads."""
    name, keys, *rest = states["numpy"]
    return {**states, "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest)}
