"""Memory and time of a training step of Mask2Former with a ResNet-50, beside mmdet's.

A step is the loss and its gradients for one image, from pixels and masks on, without the optimizer.
Contenders have the same weights, image, objects and random points; that their losses and gradients
agree is asserted first. ``mmdet`` is mmdet's detector as it is; ``mmdet, mmattn's operator`` the
same with the operator for deformable attention that importing mmattn puts in, and ``mmattn, all
kept`` is ours with ``panoptic_head.recompute=False``.

Memory is the peak of the resident memory of a fresh process during its first step, above what the
process had before the network was built: weights, gradients, image, masks and all that the step
takes. Small blocks are given back to the system at once there (``MALLOC_MMAP_THRESHOLD_``). Times
are taken in one process, in turns, after the step of the comparison: the processor time of a step,
which other processes on the machine change little, and the time that passed.

    python benchmarks/mask_heads.py                                   512 and 1024, 20 and 100
    python benchmarks/mask_heads.py --sizes 512 --objects 20 --contenders mmattn mmdet
    python benchmarks/mask_heads.py --output benchmarks/results/mask-heads-cpu
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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


@dataclass
class Measurement:
    """One contender in one case.

    Attributes:
        size: Height and width of the image.
        objects: Objects in it.
        threads: Threads of torch.
        contender: Name.
        peak_mb: Peak of the resident memory, in 10^6 bytes.
        processor: Median of the processor time of a step, in seconds, all threads added.
        passed: Median of the time that passed.
        runs: Number of steps timed.
        load: Load of the machine when timing began.
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
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--runs", type=int, default=3, help="steps to time, of each contender")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    parser.add_argument("--peak-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.peak_of:
        print(json.dumps(peak_here(args.peak_of, args.sizes[0], args.objects[0])))
        return 0
    found: list[Measurement] = []
    for size in args.sizes:
        for objects in args.objects:
            peaks = {name: peak_apart(name, size, objects) for name in args.contenders}
            steps = contenders(size, objects, args.contenders)
            assert_parity(steps)
            for threads in args.threads:
                times, load = time_in_turns(steps, threads, args.runs)
                found += [
                    Measurement(size, objects, threads, name, peaks[name],
                                *map(statistics.median, zip(*taken, strict=True)), len(taken), load)
                    for name, taken in times.items()
                ]  # fmt: skip
            print(as_table(found), file=sys.stderr, flush=True)
            del steps
            gc.collect()
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


def peak_apart(name: str, size: int, objects: int) -> float:
    """Return the peak memory of a contender's step in a process of its own, in 10^6 bytes."""
    command = [
        sys.executable, __file__, "--peak-of", name, "--sizes", str(size),
        "--objects", str(objects),
    ]  # fmt: skip
    limits = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    answer = subprocess.run(
        command, env={**os.environ, **limits}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(answer.stdout.splitlines()[-1])


def peak_here(name: str, size: int, objects: int) -> float:
    """Measure it here."""
    contenders(64, 1, [name])[name]()  # imports, thread pools, the operator's library
    gc.collect()
    before = status("VmRSS")
    step = contenders(size, objects, [name])[name]
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    step()
    return (status("VmHWM") - before) / 1e6


def status(key: str) -> int:
    """Return an entry of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"this system does not tell {key}")


def contenders(
    size: int, objects: int, names: Sequence[str] = CONTENDERS
) -> dict[str, Callable[[], dict]]:
    """Return the steps by name; each returns losses and some gradients."""
    import torch

    import mmattn  # noqa: F401  # isort: skip  (the bridge: mmdet imports mmcv's extension)
    from mmengine.registry import DefaultScope

    torch.manual_seed(0)
    inputs, sample = batch(size, objects)
    state = None
    steps: dict[str, Callable[[], dict]] = {}
    with DefaultScope.overwrite_default_scope("mmdet"):
        models: dict[str, Any] = {}
        for name in names:
            key = "mmdet" if name.startswith("mmdet") else name
            if key not in models:
                models[key] = build(key)
                state = models[key].state_dict() if state is None else state
                models[key].load_state_dict(state)
            steps[name] = step_of(models[key], inputs, sample, name == MMDET)
    return steps


def build(name: str) -> Any:
    """Build a detector for instances, whose weights mmdet's and ours can both hold."""
    from mmattn.config import load_config
    from mmattn.registry import MODELS

    cfg = load_config(CONFIG).model
    cfg.backbone.init_cfg = None
    cfg.data_preprocessor = None
    if name != "mmdet":
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


def step_of(model: Any, inputs: Any, sample: Any, mmcvs_operator: bool) -> Callable[[], dict]:
    """Return the loss and backward pass of a detector."""
    import torch

    def step() -> dict:
        model.zero_grad(set_to_none=True)
        with same_points(), mmcv_path(mmcvs_operator):
            losses = model.loss(inputs, [sample])
            losses = {key: value for key, value in losses.items() if "loss" in key}
            torch.stack([loss.sum() for loss in losses.values()]).sum().backward()
        results = {key: value.detach().sum() for key, value in losses.items()}
        for name in ("panoptic_head.query_feat.weight", "panoptic_head.mask_embed.4.weight",
                     "panoptic_head.pixel_decoder.mask_feature.weight",
                     "panoptic_head.pixel_decoder.input_convs.0.conv.weight",
                     "backbone.layer4.2.conv3.weight"):  # fmt: skip
            results[f"gradient of {name}"] = model.get_parameter(name).grad
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


def assert_parity(steps: dict[str, Callable[[], dict]]) -> None:
    """Exit with a message unless losses and gradients are those of ours."""
    expected = {key: value.clone() for key, value in steps[OURS]().items()}
    for name, step in steps.items():
        found = step()
        if found.keys() != expected.keys():
            raise SystemExit(f"{name} has other losses: {sorted(found.keys() ^ expected.keys())}")
        errors = {}
        for key, value in found.items():
            scale = expected[key].abs().max().clamp_min(1e-30)
            errors[key] = ((value - expected[key]).abs().max() / scale).item()
        worst = max(errors, key=lambda key: errors[key])
        print(f"{name}: {worst} differs most, by {errors[worst]:.1e}", file=sys.stderr, flush=True)
        if not all(error <= TOLERANCE for error in errors.values()):
            raise SystemExit(f"{name} computes otherwise than ours: {errors}")


def time_in_turns(
    steps: dict[str, Callable[[], dict]], threads: int, runs: int
) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Return processor time and time passed of each step, and the machine's load in front."""
    import torch

    torch.set_num_threads(threads)
    load = os.getloadavg()[0]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    names = list(steps)
    for _ in range(runs):
        for name in names:
            start = time.process_time(), time.perf_counter()
            steps[name]()
            end = time.process_time(), time.perf_counter()
            times[name].append((end[0] - start[0], end[1] - start[1]))
        names.append(names.pop(0))
    return times, load


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
