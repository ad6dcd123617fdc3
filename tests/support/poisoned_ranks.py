"""The toy in two processes over gloo; nan comes into rank 1 alone.

``RANK=… WORLD_SIZE=2 … python -m tests.support.poisoned_ranks FOLDER SITE POLICY COUNTS``; each
process writes what it has seen to ``rank<N>.json``.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise
from pathlib import Path


def main() -> None:
    """Train as the command line says."""
    folder, site, policy, counts = sys.argv[1:]
    import torch
    import torch.distributed as dist

    import mmattn  # noqa: F401
    from mmattn.engine.hooks.finite_steps import FiniteStepsHook
    from mmattn.errors import NumericsError
    from tests.support import toy_training
    from tests.support.poison import Poison, bytes_of, differences, model_of, state_of

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    poison = Poison(site, [4], only_rank=1)
    settings = toy_training.full_training(4)
    settings.pop("val_dataloader"), settings.pop("val_cfg"), settings.pop("val_evaluator")
    runner = toy_training.toy_runner(
        folder,
        **{
            **settings,
            "launcher": "pytorch",
            "cfg": {
                "model_wrapper_cfg": {
                    "type": "MMDistributedDataParallel",
                    "device_ids": None,
                    "broadcast_buffers": False,
                }
            },
            "train_cfg": {"by_epoch": False, "max_iters": 8},
            "train_dataloader": {
                **toy_training._loader(shuffle=True),
                "sampler": {"type": "InfiniteSampler"},
            },
            "optim_wrapper": {
                "optimizer": {"type": "AdamW", "lr": 0.01},
                "accumulative_counts": int(counts),
            },
            "checkpoint": {"interval": -1, "save_last": False},
            "param_scheduler": None,
            "custom_hooks": [{"type": "EMAHook"}, poison, FiniteStepsHook(policy)],
        },
    )
    raised = ""
    try:
        runner.train()
    except NumericsError as error:
        raised = str(error)
    states = [*poison.states, state_of(runner)]
    weights = model_of(runner).named_parameters()
    record = {
        "raised": raised,
        "changed": [bool(differences(a["model"], b["model"])) for a, b in pairwise(states)],
        "unchanged_since_window": differences(states[4 - 4 % int(counts)], states[-1])
        if raised
        else [],
        "weights": {name: bytes_of(value).hex() for name, value in weights},
    }  # fmt: skip
    Path(folder, f"rank{rank}.json").write_text(json.dumps(record))
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


if __name__ == "__main__":
    main()
