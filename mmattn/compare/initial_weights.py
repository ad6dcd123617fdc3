"""The same initial weights for all variants of one seed.

A block that is built inside a network draws random numbers, so the layers after it would start from
other weights than in the network without it. Here the network without a block is initialised first,
pretrained weights included, and each variant starts from its weights.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from mmengine.hooks import Hook

from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.errors import CheckpointError, ConfigError
from mmattn.io import atomic_write, read_checkpoint

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


def write_initial_weights(cfg: Config, seed: int, path: Path, shared: Path | None = None) -> None:
    """Initialise the model of ``cfg`` as its training would, and write its weights.

    Args:
        cfg: Config of the network without a block; its ``init_cfg`` and ``load_from`` are followed.
        seed: Random seed of the run.
        path: Path of the file to write.
        shared: File of another network's weights; those of the same name and shape are taken from
            it, as a wider host does.
    """
    enter_scope(cfg)
    from mmengine.registry import MODELS
    from mmengine.runner import load_checkpoint

    with torch.random.fork_rng(), explain_registry_errors(cfg.filename):
        torch.manual_seed(seed)
        model = MODELS.build(deepcopy(cfg.model))
        model.init_weights()
    if cfg.get("load_from"):
        load_checkpoint(model, cfg.load_from, map_location="cpu")
    if shared is not None:
        own = model.state_dict()
        others = read_checkpoint(shared)["state_dict"]
        same = {key: value for key, value in others.items()
                if key in own and own[key].shape == value.shape}  # fmt: skip
        model.load_state_dict(same, strict=False)
    with atomic_write(path) as file:
        torch.save({"state_dict": model.state_dict()}, file)


class CheckInitialWeightsHook(Hook):
    """Refuse to begin a training whose shared weights are not those of a file, bit by bit.

    Args:
        path: File with the weights of the network without a block.

    Raises:
        ConfigError: The network lacks one of the weights.
        CheckpointError: A weight differs.
    """

    def __init__(self, path: Path):
        self.path = path

    def before_train(self, runner: Runner) -> None:
        if runner.iter > 0:  # resumed
            return
        wanted = read_checkpoint(self.path)["state_dict"]
        present = runner.model.state_dict()
        for key, value in wanted.items():
            if key not in present:
                raise ConfigError(
                    f"{runner.cfg.filename}: the network with the block lacks the weight {key} of "
                    "the network without it, so the two can't start from equal weights."
                )
            if not torch.equal(present[key].cpu(), value):
                raise CheckpointError(
                    f"{runner.cfg.filename}: the initial weight {key} differs from that in "
                    f"{self.path}."
                )
