"""Memory and time of a training step of Mask2Former with a ResNet-50, beside mmdet's.

A step is the loss and its gradients for one image, from pixels and masks on, without the optimizer.
Contenders have the same weights, image, objects and random points; that their losses and gradients
agree is asserted. ``mmdet`` is mmdet's detector as it is; ``mmdet, mmattn's operator`` the same
with the operator for deformable attention that importing mmattn puts in, and ``mmattn, all kept``
is ours with ``panoptic_head.recompute=False``.

Each contender runs in processes of its own, one after the other and by turns. Memory is the peak of
a process's resident memory during its first step, above what it had before the network was built:
weights, gradients, image, masks and all that the step takes; all blocks are given back to the
system at once in this step. Times are of the steps after it, with the allocator as usual: the
processor time of all threads, which other processes on the machine change little, and the time
that passed.

    python benchmarks/mask_heads.py                                   512 and 1024, 20 and 100
    python benchmarks/mask_heads.py --sizes 512 --objects 20 --contenders mmattn mmdet
    python benchmarks/mask_heads.py --output benchmarks/results/mask-heads-cpu
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import as_line, machine

from mmattn.tables import markdown_table

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

OURS, ALL_KEPT, MMDET, MMDET_OPERATOR = (
    "mmattn", "mmattn, all kept", "mmdet", "mmdet, mmattn's operator",
)  # fmt: skip
CONTENDERS = (OURS, ALL_KEPT, MMDET, MMDET_OPERATOR)
CLASSES = 80
CONFIG = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py"
#: Shares of mmdet's memory and time that ours is to stay below.
MEMORY_GOAL, TIME_GOAL = 1 / 2, 0.7
TOLERANCE = 1e-3
GRADIENTS = (
    "panoptic_head.query_feat.weight",
    "panoptic_head.mask_embed.4.weight",
    "panoptic_head.pixel_decoder.mask_feature.weight",
    "panoptic_head.pixel_decoder.input_convs.0.conv.weight",
    "backbone.layer4.2.conv3.weight",
)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


@dataclass
class Measurement:
    """One contender in one case.

    Attributes:
        size: Height and width of the image.
        objects: Objects in it.
        threads: Threads of torch.
        contender: Name.
        peak_mb: Peak of the resident memory, in 10^6 bytes, the largest of all processes.
        processor: Median of the processor time of a step, in seconds.
        passed: Median of the time that passed.
        runs: Number of steps timed.
        load: Load of the machine at the end.
    """

    size: int
    objects: int
    threads: int
    contender: str
    peak_mb: float
    processor: float
    passed: float
    runs: int
    load: float


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit status tells whether all goals were reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--objects", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--contenders", nargs="+", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2, help="processes of each contender")
    parser.add_argument("--runs", type=int, default=2, help="steps that a process times")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    parser.add_argument("--here", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.here:
        print(json.dumps(measure_here(args.here, args.sizes[0], args.objects[0], args.runs)))
        return 0
    found: list[Measurement] = []
    for size in args.sizes:
        for objects in args.objects:
            found += measure(size, objects, args)
            print(as_table(found), file=sys.stderr, flush=True)
    facts = machine("cpu")
    table = as_table(found)
    print(as_line(facts))
    print(table)
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": facts, "measurements": [asdict(one) for one in found]}
        args.output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        args.output.with_suffix(".md").write_text(f"{as_line(facts)}\n\n{table}\n")
    return 1 if "missed" in table else 0


def measure(size: int, objects: int, args: argparse.Namespace) -> list[Measurement]:
    """Measure all contenders in one case, and assert that they agree."""
    answers: dict[str, list[dict]] = {name: [] for name in args.contenders}
    for _ in range(args.rounds):
        for name in args.contenders:
            answers[name].append(measure_apart(name, size, objects, args))
    first = answers[args.contenders[0]][0]["results"]
    for name, of_name in answers.items():
        for answer in of_name:
            assert_parity(name, answer["results"], first)
    return [
        Measurement(
            size, objects, args.threads, name, max(answer["peak_mb"] for answer in of_name),
            statistics.median(t for answer in of_name for t in answer["processor"]),
            statistics.median(t for answer in of_name for t in answer["passed"]),
            len(of_name) * args.runs, os.getloadavg()[0],
        )
        for name, of_name in answers.items()
    ]  # fmt: skip


def measure_apart(name: str, size: int, objects: int, args: argparse.Namespace) -> dict:
    """Measure a contender in a process of its own."""
    command = [
        sys.executable, __file__, "--here", name, "--sizes", str(size), "--objects", str(objects),
        "--runs", str(args.runs),
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": str(args.threads)}
    answer = subprocess.run(
        command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(answer.stdout.splitlines()[-1])


def measure_here(name: str, size: int, objects: int, runs: int) -> dict:
    """Return memory and times of a contender in this process, and what it computed."""
    contender(name, 64, 1)()  # imports, thread pools, the operator's library
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, 1 << 16)
    libc.mallopt(_TRIM_THRESHOLD, 1 << 16)
    gc.collect()
    libc.malloc_trim(0)
    before = status("VmRSS")
    step = contender(name, size, objects)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    results = step()
    peak = status("VmHWM")
    libc.mallopt(_MMAP_THRESHOLD, 1 << 25)  # what the allocator arrives at by itself
    libc.mallopt(_TRIM_THRESHOLD, 1 << 26)
    processor, passed = [], []
    for _ in range(runs):
        start = time.process_time(), time.perf_counter()
        step()
        processor.append(time.process_time() - start[0])
        passed.append(time.perf_counter() - start[1])
    return {
        "peak_mb": (peak - before) / 1e6,
        "processor": processor,
        "passed": passed,
        "results": results,
    }


def status(key: str) -> int:
    """Return an entry of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not tell {key}")


def contender(name: str, size: int, objects: int) -> Callable[[], dict[str, float]]:
    """Return the step, which returns losses and the norms of some gradients."""
    import torch

    import mmattn  # noqa: F401  # isort: skip  (the bridge: mmdet imports mmcv's extension)
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"):
        model = build(name)
    torch.manual_seed(0)
    with torch.no_grad():  # both have the same weights under the same names
        for _, parameter in sorted(model.named_parameters()):
            scale = 0.5 * parameter.numel() ** -0.5 if parameter.dim() == 1 else xavier(parameter)
            noise = torch.randn(parameter.shape) * scale
            parameter.copy_(noise + 1 if parameter.mean() > 0.9 else noise)
    return step_of(model, *batch(size, objects), name == MMDET)


def xavier(weight: Any) -> float:
    """Return the deviation that keeps the size of what passes through a matrix."""
    return (2 / (weight.numel() / weight.shape[0] + weight.shape[0])) ** 0.5


def build(name: str) -> Any:
    """Build a detector for instances."""
    from mmattn.config import load_config
    from mmattn.registry import MODELS

    cfg = load_config(CONFIG).model
    cfg.backbone.init_cfg = None
    cfg.data_preprocessor = None
    if name not in (MMDET, MMDET_OPERATOR):
        cfg.type = "mmattn.Mask2Former"
        cfg.train_cfg = None
        cfg.panoptic_head = {
            "type": "mmattn.Mask2FormerHead",
            "in_channels": [256, 512, 1024, 2048],
            "num_things_classes": CLASSES,
            "num_stuff_classes": 0,
            "recompute": name == OURS,
        }
        cfg.panoptic_fusion_head.type = "mmattn.Mask2FormerFusionHead"
    return MODELS.build(cfg).train()


def batch(size: int, objects: int) -> tuple[Any, Any]:
    """One image, and blobs that overlap."""
    import numpy as np
    import torch
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    masks = np.zeros((objects, size, size), dtype=np.uint8)
    for mask in masks:
        (cy, cx), (ry, rx) = rng.random(2), 0.03 + 0.2 * rng.random(2)
        mask[((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1] = 1
        mask[int(cy * (size - 1)), int(cx * (size - 1))] = 1
    sample = DetDataSample(
        metainfo={"batch_input_shape": (size, size), "img_shape": (size, size)},
        gt_instances=InstanceData(
            labels=torch.from_numpy(rng.integers(0, CLASSES, objects)),
            masks=BitmapMasks(masks, size, size),
        ),
    )
    return torch.randn(1, 3, size, size), sample


def step_of(
    model: Any, inputs: Any, sample: Any, mmcvs_operator: bool
) -> Callable[[], dict[str, float]]:
    """Return the loss and backward pass of a detector."""
    import torch

    def step() -> dict[str, float]:
        model.zero_grad(set_to_none=True)
        with same_points(), mmcv_path(mmcvs_operator):
            losses = model.loss(inputs, [sample])
            losses = {key: value for key, value in losses.items() if "loss" in key}
            torch.stack([loss.sum() for loss in losses.values()]).sum().backward()
        results = {key: float(value.detach().sum()) for key, value in losses.items()}
        for name in GRADIENTS:
            gradient = model.get_parameter(name).grad
            results[f"gradient of {name}"] = float(gradient.double().norm())
        return results

    return step


@contextmanager
def same_points() -> Iterator[None]:
    """Let random points depend on nothing but how many are drawn."""
    import torch

    draw = torch.rand

    def rand(*size: Any, device: Any = None) -> Any:
        size = size[0] if isinstance(size[0], tuple) else size
        return draw(*size, generator=torch.Generator().manual_seed(sum(size)))

    torch.rand = rand
    try:
        yield
    finally:
        torch.rand = draw


@contextmanager
def mmcv_path(on: bool) -> Iterator[None]:
    """Put back mmcv's own composition of grid samples."""
    import mmcv.ops.multi_scale_deform_attn as module

    before = module.multi_scale_deformable_attn_pytorch
    if on:
        module.multi_scale_deformable_attn_pytorch = getattr(before, "__wrapped__", before)
    try:
        yield
    finally:
        module.multi_scale_deformable_attn_pytorch = before


def assert_parity(name: str, found: dict[str, float], expected: dict[str, float]) -> None:
    """Exit with a message unless losses and gradients are those of the first contender."""
    if found.keys() != expected.keys():
        raise SystemExit(f"{name} has other losses: {sorted(found.keys() ^ expected.keys())}")
    errors = {key: abs(found[key] - one) / max(abs(one), 1e-9) for key, one in expected.items()}
    worst = max(errors, key=lambda key: errors[key])
    print(f"{name}: {worst} differs most, by {errors[worst]:.1e}", file=sys.stderr, flush=True)
    if not all(error <= TOLERANCE for error in errors.values()):
        raise SystemExit(f"{name} computes otherwise: {errors}")


def as_table(found: list[Measurement]) -> str:
    """Return a Markdown table with shares of mmdet's memory and time."""
    theirs = {(m.size, m.objects, m.threads): m for m in found if m.contender == MMDET}
    head = ("image", "objects", "threads", "contender", "peak MB", "of mmdet's", "CPU s",
            "of mmdet's", "passed s", "runs", "load")  # fmt: skip
    lines = []
    for m in found:
        base = theirs[m.size, m.objects, m.threads]
        memory, seconds = m.peak_mb / base.peak_mb, m.processor / base.processor
        goal = m.contender == OURS
        lines.append(
            (f"{m.size} x {m.size}", str(m.objects), str(m.threads), m.contender,
             f"{m.peak_mb:.0f}", share(memory, MEMORY_GOAL if goal else None), f"{m.processor:.2f}",
             share(seconds, TIME_GOAL if goal else None), f"{m.passed:.2f}", str(m.runs),
             f"{m.load:.1f}")
        )  # fmt: skip
    return markdown_table(head, lines)


def share(value: float, goal: float | None) -> str:
    """Return a share, and whether it reaches a goal."""
    if goal is None:
        return f"{value:.2f}"
    return f"{value:.2f} (at most {goal:.2g}: {'reached' if value <= goal else 'missed'})"


if __name__ == "__main__":
    sys.exit(main())
