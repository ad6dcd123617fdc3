"""Refuse a device that is misspelt or is not there, before weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, one_line

if TYPE_CHECKING:
    import torch


def require_device(device: str | torch.device) -> None:
    """Put an empty tensor on ``device``.

    Raises:
        ConfigError: torch knows no device of that name, or this machine lacks it.
    """
    import torch

    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError(
            f"device {str(device)!r}: torch knows no device of that name. {_devices_here()}"
        ) from None
    try:
        torch.empty(0, device=found)
    # Builds of torch without a kind of device raise AssertionError or NotImplementedError.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device {str(device)!r} cannot be used on this machine ({one_line(error)}). "
            f"{_devices_here()}"
        ) from None


def _devices_here() -> str:
    import torch

    gpus = torch.cuda.device_count()
    names = ["cpu", *(f"cuda:{number}" for number in range(gpus))]
    return f"Here there {'are' if gpus else 'is'}: {', '.join(names)}"
