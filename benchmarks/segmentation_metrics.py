"""Time the counting of pixels against mmseg's, with the timer of ``benchmarks/ops.py``.

Both compute the hit, united, predicted and labelled pixels of every class of one image, which are
equal; ours come from a whole confusion matrix. The label maps are int64, as mmseg makes them,
with 5 % of the pixels ignored and a tenth of the others wrong.

    python benchmarks/segmentation_metrics.py
    python benchmarks/segmentation_metrics.py --output benchmarks/results/segmentation-metrics-cpu
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machine import as_line, machine
from ops import as_summary, as_table, time_row, write

# Name -> height, width, classes, goal against mmseg (times faster).
CASES = {
    "Cityscapes, 1024 x 2048, 19 classes": (1024, 2048, 19, 10.0),
    "ADE20K, 512 x 683, 150 classes": (512, 683, 150, 10.0),
    "CamVid, 360 x 480, 11 classes": (360, 480, 11, None),
}


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit status tells whether all goals were reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=4.0, help="time for each case")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    args = parser.parse_args(argv)

    import torch

    timings = []
    for name, (*size, classes, goal) in CASES.items():
        for threads in args.threads:
            torch.set_num_threads(threads)
            timings += time_row(_row(name, size, classes, goal), threads, args.seconds, "cpu")
    table = as_table(timings)
    print(as_line(machine("cpu")))
    print(table)
    print(as_summary(timings))
    if args.output:
        write(args.output, timings, table, "cpu")
    return 1 if any(t.goal.endswith("missed") for t in timings) else 0


def _row(name: str, size: list[int], classes: int, goal: float | None):
    import torch
    from mmseg.evaluation import IoUMetric
    from ops_cases import Row

    import mmattn  # noqa: F401  (the bridge: mmseg imports mmcv's extension)
    from mmattn.evaluation.semantic.confusion import SparseConfusion, confusion_matrix

    def setup():
        generator = torch.Generator().manual_seed(0)

        def random_classes(high: int, *shape: int):
            return torch.randint(high, shape, generator=generator)

        coarse = random_classes(classes, -(-size[0] // 32), -(-size[1] // 32))
        label = coarse.repeat_interleave(32, 0).repeat_interleave(32, 1)[: size[0], : size[1]]
        chance = torch.rand(size, generator=generator)
        predicted = torch.where(chance < 0.1, random_classes(classes, *size), label).contiguous()
        label = torch.where(chance > 0.95, 255, label).contiguous()

        def ours():
            counted = SparseConfusion.of(confusion_matrix(label, predicted, classes))
            hit, guessed, labelled = map(torch.from_numpy, counted.areas())
            return hit, guessed + labelled - hit, guessed, labelled

        def theirs():
            return IoUMetric.intersect_and_union(predicted, label, classes, 255)

        return {"mmattn": ours, "mmseg": theirs}

    goals = {} if goal is None else {"mmseg": goal}
    return Row("confusion matrix", name, setup, goals=goals, tolerance=0.0)


if __name__ == "__main__":
    sys.exit(main())
