"""Makes the original mmengine read checkpoints as data where it calls ``torch.load`` itself.

The forked mmengine reads all files by one function of its own, which ``mmattn.bridge.checkpoints``
replaces. The original has none: its readers for object storage and model zoos call ``torch.load``,
which knows nothing of safetensors nor of the message hub that mmattn saves as plain data
(``checkpoint_content.py``), and before torch 2.6 unpickles.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any


class _TorchWithSafeLoad(ModuleType):
    """torch, with a ``load`` that reads data only."""

    def __init__(self, torch: ModuleType, load: Callable):
        super().__init__("torch")
        self._torch = torch
        self.load = load

    def __getattr__(self, name: str) -> Any:
        return getattr(self._torch, name)


def patch_torch_load(checkpoint_module: ModuleType) -> None:
    """Give ``mmengine.runner.checkpoint``, and it alone, a ``torch.load`` that never unpickles.

    Nothing changes in an mmengine that has ``_safe_torch_load``, as the fork has.
    """
    if hasattr(checkpoint_module, "_safe_torch_load"):
        return
    from .checkpoints import read_for_mmengine

    torch = checkpoint_module.torch
    if not isinstance(torch, _TorchWithSafeLoad):
        checkpoint_module.torch = _TorchWithSafeLoad(torch, read_for_mmengine)
