"""Count the parameters of the models of the index: ``python -m tests.support.model_parameters``.

Networks are built on torch's meta device, which has sizes and no numbers. Recipes for a folder of
one's own are counted with one class (a panoptic one with one of things and one of stuff).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn
from torch.overrides import TorchFunctionMode

from mmattn.config import load_config, model_index
from mmattn.config.class_counts import AUTO
from mmattn.config.walk import rewrite, walk


class _NumbersInMemory(TorchFunctionMode):
    """Keeps rates of drop path in memory, whatever the device: Swin reads them as it is built."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)


def build_on_meta(config: str | Path) -> nn.Module:
    """Build the network of a config without its weights, as it is trained.

    In memory where a block is brought into its identity form, which is tested with numbers.
    """
    from mmattn.registry import MODELS

    cfg = load_config(config)

    def one_class(_: str, value: Any) -> Any:
        return 1 if value == AUTO else value

    model = ConfigDict(rewrite(cfg.model, one_class))
    identity = any(value == "identity" for _, value in walk(model, "model"))
    device = torch.device("cpu" if identity else "meta")
    with DefaultScope.overwrite_default_scope(cfg.default_scope), device, _NumbersInMemory():
        return MODELS.build(model)


def parameters(config: str | Path) -> int:
    """Return how many parameters the network of a config has, frozen ones and heads included."""
    return sum(p.numel() for p in build_on_meta(config).parameters())


def main() -> None:
    """Print the count of each model, or of those whose names are given."""
    for entry in model_index():
        if not sys.argv[1:] or entry.name in sys.argv[1:]:
            print(f"{entry.name}: {parameters(entry.config)}", flush=True)


if __name__ == "__main__":
    main()
