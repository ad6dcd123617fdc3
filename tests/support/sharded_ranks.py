"""Trainings of a sharded model by several processes, one after the other.

``RANK=0 WORLD_SIZE=2 MASTER_ADDR=… python -m tests.support.sharded_ranks CONFIG RUNS``

where RUNS is a list in JSON: of each run its folder, what it resumes from, and options of the
config. Each folder gets ``rank<N>.json``, what a process holds of the model and the optimiser.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def run(
    config: str, folder: str, *, launcher: str = "none", resume: str | None = None,
    options: dict[str, Any] | None = None, amp: bool = False,
) -> None:  # fmt: skip
    """Train as ``mmattn train`` does, but unwatched, so that one process may do so repeatedly."""
    from mmattn.config import load_config
    from mmattn.engine.resume import require_same_model
    from mmattn.engine.runner import build_runner
    from mmattn.engine.train import resume_exactly, training_steps

    cfg = load_config(config, options or {})
    cfg.launcher = launcher
    steps = training_steps(folder, amp=amp, auto_scale_lr=False, resume=resume)
    runner = build_runner(cfg, ("train", "val"), steps)
    resume_exactly(runner)
    if resume is not None:
        require_same_model(runner)
    runner.train()
    held = {
        "blocks": getattr(runner.model, "blocks", []),
        "all": sum(p.numel() for p in runner.model.parameters()),
        "weights": sum(_part(p).numel() for p in runner.model.parameters()),
        "averages": sum(
            _part(state["exp_avg"]).numel()
            for state in runner.optim_wrapper.optimizer.state.values()
        ),
    }
    Path(folder, f"rank{runner.rank}.json").write_text(json.dumps(held))


def _part(tensor: Any) -> Any:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def main() -> None:
    """Run what the command line lists."""
    import torch.distributed as dist

    for given in json.loads(sys.argv[2]):
        run(sys.argv[1], launcher="pytorch", **given)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
