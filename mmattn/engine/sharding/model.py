"""FSDP2 of torch around any model of mmengine: each process keeps a part of every weight."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from mmengine.dist import broadcast
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from mmattn.errors import ConfigError
from mmattn.registry import MODEL_WRAPPERS

from .blocks import MIN_PARAMETERS, find_blocks


@MODEL_WRAPPERS.register_module()
class FullyShardedModel(nn.Module):
    """Shares the weights of a model out among all processes (``torch.distributed.fsdp``).

    Each block of the backbone gathers its weights when it runs, and lets go of them behind it;
    everything else is gathered for the whole pass, so that a head may call what it likes. Gradients
    and the state of the optimiser are of each process's part alone.

    A parameter that a process has not used has a gradient of zero there: processes may use
    different parts of a head.

    Args:
        module: Model, the same one in all processes but for its first values, which are the first
            process's.
        min_parameters: Smallest number of parameters of a block that is gathered by itself.

    Attributes:
        blocks: Names of the blocks that are gathered by themselves.

    Raises:
        ConfigError: A parameter of the model has no dimension to be cut along, or torch is too old.
    """

    def __init__(self, module: nn.Module, min_parameters: int = MIN_PARAMETERS) -> None:
        super().__init__()
        self.module = module
        _check(module)
        _initialise(module)
        self.blocks = find_blocks(module, min_parameters)
        device = next(module.parameters()).device.type
        mesh = init_device_mesh(device, (torch.distributed.get_world_size(),))
        for name in self.blocks:
            _shard(module.get_submodule(name), mesh)
        _shard(module, mesh).set_reduce_scatter_unused_params(True)
        # Losses are often views of one tensor, and nobody changes them in place.
        view = rf"FSDP2-wrapped module \({type(module).__name__}\) returned a view"
        warnings.filterwarnings("ignore", message=view)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        """Take a step, as ``MMDistributedDataParallel.train_step`` does."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, training=True)
            if isinstance(data, dict):
                losses = self.module(**data, mode="loss")
            else:
                losses = self.module(*data, mode="loss")
        loss, log = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log

    def val_step(self, data: Any) -> Any:
        """Predict a batch."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> Any:
        """Predict a batch."""
        return self.module.test_step(data)

    def gather(self) -> None:
        """Hold all weights until ``share_out``; to be called in all processes.

        Predictions need that: one image may take more passes than another, and nobody can gather
        alone.
        """
        for part in self._parts():
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()

    def share_out(self) -> None:
        """Keep this process's part of the weights alone; nothing is sent."""
        for part in self._parts():
            part.set_reshard_after_forward(part is not self.module, recurse=False)
            part.reshard()

    def _parts(self) -> list[FSDPModule]:
        # From the outside in, so that the first one that runs is the root.
        return [module for module in self.module.modules() if isinstance(module, FSDPModule)]


def _shard(module: nn.Module, mesh: DeviceMesh) -> FSDPModule:
    name = type(module).__name__
    sharded = fully_shard(module, mesh=mesh)
    type(module).__name__ = name  # FSDP makes a class of its own, which models and users see
    return sharded


def _check(module: nn.Module) -> None:
    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise ConfigError(
            f"mmattn.FullyShardedModel: torch {torch.__version__} is too old, since it has no "
            "FSDPModule.set_reduce_scatter_unused_params; update torch"
        )
    scalars = [name for name, parameter in module.named_parameters() if not parameter.ndim]
    if scalars:
        raise ConfigError(
            "mmattn.FullyShardedModel: parameters without a dimension cannot be shared out: "
            f"{', '.join(scalars[:4])}; make them of shape (1,)"
        )


def _initialise(module: nn.Module) -> None:
    """Give the weights their first values while they are whole, the same ones in all processes."""
    initialise = getattr(module, "init_weights", None)
    if initialise is not None:
        initialise()
    for value in (*module.parameters(), *module.buffers()):  # also buffers that no file holds
        broadcast(value.detach())
