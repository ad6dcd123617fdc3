"""A training by mmdet alone, as users ran it who never heard of mmattn.

``python -m tests.support.plain_detection CONFIG PREDICTIONS`` trains the detector of a config, and
keeps what it finds in the test images, as mmdet's ``DumpDetResults`` does. mmcv may lack its
compiled operators, of which a test needs one: suppression of overlapping boxes, here torchvision's.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run_plain_detection(config: Path, predictions: Path) -> None:
    """Train in a process of its own, into which mmattn is not imported."""
    command = [sys.executable, "-m", "tests.support.plain_detection", config, predictions]
    subprocess.run(command, check=True, cwd=ROOT)


def main(config: str, predictions: str) -> None:
    """Train, test the last checkpoint, and write the predictions."""
    import torch

    torch.set_num_threads(1)
    _provide_operators()
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.runner import Runner

    register_all_modules()
    cfg = Config.fromfile(config)
    Runner.from_cfg(cfg).train()
    # Another runner: that of the training would test the weights behind the average.
    dump = {"type": "DumpDetResults", "out_file_path": predictions}
    cfg.test_evaluator = [cfg.test_evaluator, dump]
    cfg.load_from = (Path(cfg.work_dir) / "last_checkpoint").read_text()
    cfg.experiment_name = "test"
    Runner.from_cfg(cfg).test()
    assert "mmattn" not in sys.modules


def _provide_operators() -> None:
    import mmcv

    if find_spec("mmcv._ext") is not None:
        return
    import torchvision

    def nms(boxes: Any, scores: Any, iou_threshold: float, offset: int) -> Any:
        assert offset == 0, "torchvision's boxes end where they end"
        return torchvision.ops.nms(boxes, scores, iou_threshold)

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def fail(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(name)

        return fail

    module = module_from_spec(ModuleSpec("mmcv._ext", None))
    vars(module).update(nms=nms, __getattr__=missing)
    sys.modules[module.__name__] = mmcv._ext = module


if __name__ == "__main__":
    main(*sys.argv[1:])
