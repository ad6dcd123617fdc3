"""Time a training step with the check for finite numbers against one without, in turns.

Both are mmengine's own step of the same network (forward, backward, AdamW), with a clipped norm as
in most configs and without one, where the norm of the gradients is computed for the check alone.

    python benchmarks/finite_steps.py
    python benchmarks/finite_steps.py --output benchmarks/results/finite-steps-cpu
"""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import types
from pathlib import Path
from typing import Any

from ops import time_and_report

#: Largest slow-down of a step.
AT_MOST = 1.02
# Name -> depth of the ResNet below mmseg's FCN head, images, size, clipped norm.
CASES = {
    "FCN ResNet-18, 2 x 128 x 128, clipped": (18, 2, 128, 10.0),
    "FCN ResNet-18, 2 x 128 x 128, not clipped": (18, 2, 128, None),
    "FCN ResNet-50, 2 x 256 x 256, not clipped": (50, 2, 256, None),
}


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit status tells whether all goals were reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seconds", type=float, default=30.0, help="time for each case")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    parser.set_defaults(threads=[1])
    args = parser.parse_args(argv)

    import torch

    torch.set_num_threads(1)
    return time_and_report([_row(name, args.device, *case) for name, case in CASES.items()], args)


def _row(name: str, device: str, depth: int, images: int, size: int, max_norm: float | None):
    import torch
    from mmengine.config import Config
    from mmengine.optim import OptimWrapper
    from mmengine.registry import MODELS
    from ops_cases import Row

    from mmattn.config.numerics import NumericsSettings
    from mmattn.config.registry_scope import enter_scope
    from mmattn.engine.numerics.guard import StepGuard

    def setup():
        enter_scope(Config({"default_scope": "mmseg"}))
        torch.manual_seed(0)
        width = 512 if depth == 18 else 2048
        model: Any = MODELS.build({
            "type": "EncoderDecoder",
            "data_preprocessor": {"type": "SegDataPreProcessor", "size": (size, size)},
            "backbone": {"type": "ResNet", "depth": depth, "norm_cfg": {"type": "BN"}},
            "decode_head": {"type": "FCNHead", "in_channels": width, "channels": 64,
                            "num_classes": 19, "norm_cfg": {"type": "BN"}, "dropout_ratio": 0.0},
            "test_cfg": {"mode": "whole"},
        }).to(device).train()  # fmt: skip
        batch = _batch(images, size)

        def step(model: Any, guarded: bool):
            clip = None if max_norm is None else {"max_norm": max_norm}
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
            wrapper = OptimWrapper(optimizer, clip_grad=clip)
            if guarded:
                runner: Any = types.SimpleNamespace(
                    model=model, optim_wrapper=wrapper, iter=0, epoch=0, hooks=[],
                    param_schedulers=None, logger=logging.getLogger("benchmark"),
                )  # fmt: skip
                StepGuard(runner, NumericsSettings()).install()

            def run():
                model.train_step(batch, optim_wrapper=wrapper)
                return next(model.parameters()).detach().clone()

            return run

        return {"mmattn": step(model, True), "unguarded": step(copy.deepcopy(model), False)}

    return Row("step", name, setup, at_most={"unguarded": AT_MOST}, tolerance=1e-5)


def _batch(images: int, size: int) -> dict[str, list]:
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for _ in range(images):
        inputs.append(torch.randint(256, (3, size, size), generator=generator, dtype=torch.uint8))
        sample = SegDataSample(metainfo={"img_shape": (size, size), "ori_shape": (size, size)})
        labels = torch.randint(19, (1, size, size), generator=generator)
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}


if __name__ == "__main__":
    sys.exit(main())
