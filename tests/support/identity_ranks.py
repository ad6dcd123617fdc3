"""Two processes over gloo that train a network with a block in the identity form.

``RANK=… WORLD_SIZE=2 … python -m tests.support.identity_ranks FOLDER DTYPE``; each process writes
what it has seen to ``rank<N>.json``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.model import BaseModel, ExponentialMovingAverage, MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from mmattn.registry import MODELS
from tests.support.poison import bytes_of

STEPS = 3


class Layers(nn.Module):
    """The network without the block."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve twice."""
        return self.last(self.first(x).relu())


class Net(BaseModel):
    """Two layers with a block between them, in float32 or with autocast."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        block = {"cfg": {"type": "mmattn.CBAM", "init": "identity"}, "at": "first"}
        self.network = MODELS.build(
            {"type": "mmattn.WithPlugins", "inner": Layers(), "plugins": [block]}
        )

    def forward(self, inputs: Tensor, mode: str = "tensor") -> Any:
        """Return the loss: how far all outputs are from 1."""
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            y = self.network(inputs)
        return {"loss": (y.float() - 1).square().mean()}


def main() -> None:
    """Take three steps on images of this process's own."""
    folder, dtype = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    net = Net(getattr(torch, dtype))
    model = MMDistributedDataParallel(net, broadcast_buffers=False, find_unused_parameters=False)
    average = ExponentialMovingAverage(net, momentum=0.5)
    wrapper = build_optim_wrapper(
        model,
        {
            "constructor": "mmattn.NewParametersOptimWrapperConstructor",
            "optimizer": {"type": "SGD", "lr": 0.1},
            "paramwise_cfg": {"new_parameters": {"lr_mult": 10, "warmup_iters": 2}},
        },
    )
    steps: list[dict[str, Any]] = []

    def note(*_: Any) -> None:
        named = dict(net.network.named_parameters())
        own = {n: p for n, p in named.items() if n.startswith("plugins.")}
        scales = [own.pop(name) for name in list(own) if name.endswith(".residual_scale")]
        steps.append(
            {
                "without": [name for name, p in named.items() if p.grad is None],
                "scales": [bool(p.grad is not None and p.grad.any()) for p in scales],
                "block": any(p.grad is not None and bool(p.grad.any()) for p in own.values()),
            }
        )

    wrapper.optimizer.register_step_pre_hook(note)
    generator = torch.Generator().manual_seed(rank)
    for _ in range(STEPS):
        images = torch.randn((2, 3, 12, 9), generator=generator)
        model.train_step({"inputs": images}, wrapper)
        average.update_parameters(net)
    weights = hashlib.sha256()
    for module in (net, average.module):
        for parameter in module.parameters():
            weights.update(bytes_of(parameter))
    seen = {"steps": steps, "weights": weights.hexdigest()}
    Path(folder, f"rank{rank}.json").write_text(json.dumps(seen))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
