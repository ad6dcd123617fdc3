"""FSDP2 of torch around any model of mmengine: each process keeps a part of every weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import broadcast
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from mmattn.registry import MODEL_WRAPPERS

#: A block with fewer parameters is not worth a communication of its own.
MIN_PARAMETERS = 100_000


@MODEL_WRAPPERS.register_module()
class FullyShardedModel(nn.Module):
    """Shares the weights of a model out among all processes (``torch.distributed.fsdp``).

    The blocks of the backbone, the neck and the head, as ``ModuleList`` and ``Sequential`` hold
    them, gather their weights when they run, and let go of them afterwards. What is in no block is
    gathered for the whole pass, so that a head may call what it likes. Gradients and the state of
    the optimiser are of each process's part alone.

    Args:
        module: Model.
        min_parameters: Smallest number of parameters of a block.
    """

    def __init__(self, module: nn.Module, min_parameters: int = MIN_PARAMETERS) -> None:
        super().__init__()
        self.module = module
        _initialise(module)
        device = next(module.parameters()).device.type
        mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
        #: Names of the blocks that are gathered by themselves.
        self.blocks = [name for name, _ in find_blocks(module, min_parameters)]
        for name in self.blocks:
            fully_shard(module.get_submodule(name), mesh=mesh)
        fully_shard(module, mesh=mesh)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        """Take a step, as ``MMDistributedDataParallel.train_step`` does."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, training=True)
            losses = _run(self.module, data, mode="loss")
        loss, log = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log

    def val_step(self, data: Any) -> Any:
        """Predict a batch."""
        return self._predicted(self.module.val_step, data)

    def test_step(self, data: Any) -> Any:
        """Predict a batch."""
        return self._predicted(self.module.test_step, data)

    def _predicted(self, step: Any, data: Any) -> Any:
        try:
            return step(data)
        finally:
            self.module.reshard()  # without a backward pass nothing else does


def _initialise(module: nn.Module) -> None:
    """Give the weights their first values while they are whole, the same ones in all processes."""
    initialise = getattr(module, "init_weights", None)
    if initialise is not None:
        initialise()
    for value in module.state_dict().values():
        broadcast(value)


def find_blocks(model: nn.Module, min_parameters: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield the outermost members of lists and sequences that are worth sharding by themselves.

    A block that shares a weight with what is outside of it is none.
    """
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    taken: list[str] = []
    for name, module in model.named_modules():
        above, _, _ = name.rpartition(".")
        if not name or any(name.startswith(f"{other}.") for other in taken):
            continue
        in_list = isinstance(model.get_submodule(above), (nn.ModuleList, nn.Sequential))
        if not in_list or isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            continue
        inside = Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))
        alone = all(uses[key] == count for key, count in inside.items())
        if alone and sum(p.numel() for p in module.parameters()) >= min_parameters:
            taken.append(name)
            yield name, module


def _run(module: nn.Module, data: Any, mode: str) -> Any:
    if isinstance(data, dict):
        return module(**data, mode=mode)
    return module(*data, mode=mode)
