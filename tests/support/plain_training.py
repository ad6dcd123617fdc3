"""A training by mmengine alone, as users ran it who never heard of mmattn.

``python -m tests.support.plain_training NAME WORK_DIR EPOCHS [--resume]`` trains the toy by the
settings of that name; its checkpoints hold what users' hooks add to them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import OrderedDict, defaultdict, deque
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Custom:
    """Class of a user, which nobody else can import."""

    def __init__(self) -> None:
        self.note = "state of an object"


def additions() -> dict[str, Any]:
    """What hooks of users put into ``meta``, and can be read as data."""
    import addict
    import numpy as np
    import torch
    from mmengine import ConfigDict

    counts: defaultdict = defaultdict(list)
    counts["a"] += [1, 2]
    return {
        "model": ConfigDict(model={"type": "Net", "layers": [1, {"deep": (2, 3)}]}),
        "addict": addict.Dict(a=1, b={"c": [1, {"d": 2}]}),
        "counts": counts,
        "best": np.float32(0.1),
        "step": np.int64(2**60),
        "flag": np.bool_(True),
        "name": np.str_("a\u00e9"),
        "palette": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "foreign": np.arange(3, dtype=">i4"),
        "nothing": np.zeros((0, 3)),
        "shape": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        "device": torch.device("cuda", 1),
        "complex": 1 + 2j,
        "bytes": b"\x00\xff",
        "set": {1, 2},
        "text": "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "order": OrderedDict(b=1, a=2),
        "queue": deque([1.0, 2.0], maxlen=3),
        "path": Path("/a/b"),
    }


def unreadable() -> dict[str, Any]:
    """What hooks of users put into ``meta``, and is no data."""
    return {"custom": Custom(), "call": print, "moment": datetime(2020, 1, 1)}


def run_plain(name: str, work_dir: Path, epochs: int, resume: bool = False) -> None:
    """Train in a process of its own, into which mmattn is not imported."""
    command = [sys.executable, "-m", "tests.support.plain_training", name, str(work_dir)]
    command += [str(epochs), *(["--resume"] if resume else [])]
    subprocess.run(command, check=True, cwd=ROOT)


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["full", "scaled"])
    parser.add_argument("work_dir", type=Path)
    parser.add_argument("epochs", type=int)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()

    import torch
    from mmengine.hooks import Hook

    from tests.support import plain_training, toy_training

    class Keeps(Hook):
        def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
            # By the module's own name, not __main__, as pickles want it.
            checkpoint["meta"].update(plain_training.additions(), **plain_training.unreadable())

    torch.set_num_threads(1)
    if args.name == "full":
        settings = toy_training.full_training(4)
    else:
        toy_training.scale_losses_on_cpu()
        settings = toy_training.scaled_training(4)
    settings["train_cfg"]["max_epochs"] = args.epochs
    settings["custom_hooks"] = [*settings.get("custom_hooks", []), Keeps()]
    toy_training.toy_runner(args.work_dir, plain=True, resume=args.resume, **settings).train()
    assert "mmattn" not in sys.modules


if __name__ == "__main__":
    main()
