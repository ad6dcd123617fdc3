"""Two processes that resume a toy training over gloo, and say which files they have verified.

``RANK=0 WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python -m tests.support.resuming_ranks RUN …``
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from mmengine.hooks import Hook


class Resumed(Exception):
    """Raised with the epoch from which a training would go on."""


class StopHook(Hook):
    """Stops behind the resume, before the first step."""

    def before_train(self, runner) -> None:
        """Say where it would begin."""
        raise Resumed(runner.epoch)


def main() -> None:
    """Resume each run that is named, and print for each what happened, as JSON."""
    import torch.distributed as dist

    import mmattn.io.checkpoint_files as files
    from mmattn.errors import CheckpointError
    from tests.support.toy_training import toy_runner

    verified: list[str] = []
    check_digest = files.check_digest

    def noting(file, name: str) -> bool:
        verified.append(Path(name).name)
        return check_digest(file, name)

    files.check_digest = noting
    dist.init_process_group("gloo", timeout=timedelta(minutes=10))
    outcomes = []
    for run in sys.argv[1:]:
        verified.clear()
        outcome = ""
        try:
            toy_runner(run, resume=True, custom_hooks=[StopHook()]).train()
        except Resumed as resumed:
            outcome = f"epoch {resumed.args[0]}"
        except CheckpointError as error:
            outcome = f"CheckpointError: {error}"
        outcomes.append({"outcome": outcome, "verified": verified[:]})
    Path(sys.argv[1]).joinpath(f"rank{os.environ['RANK']}.json").write_text(json.dumps(outcomes))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
