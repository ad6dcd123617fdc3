"""Time what a detector needs besides its network, with the timer of ``benchmarks/ops.py``.

The contenders of a case compute the same from the same inputs, which is asserted first; then they
take turns in one process. A subject is a module of ``benchmarks/detection_cases``.

    python benchmarks/detection.py                                  all subjects, 1 and 2 threads
    python benchmarks/detection.py training_loss --rows "batch 16"
    python benchmarks/detection.py --output benchmarks/results/detection-cpu
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machine import as_line, machine
from ops import Timing, as_summary, as_table, time_row, write


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; the exit status tells whether all goals were reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", help="modules of detection_cases (default: all)")
    parser.add_argument("--rows", default="", help="only cases whose name contains this")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each case")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    args = parser.parse_args(argv)

    import torch
    from detection_cases import find_rows

    timings: list[Timing] = []
    for row in find_rows(args.device, args.subjects):
        if args.rows not in row.name:
            continue
        for threads in args.threads if args.device == "cpu" else [torch.get_num_threads()]:
            torch.set_num_threads(threads)
            print(f"{row.op}: {row.name} ({threads} threads)", file=sys.stderr, flush=True)
            timings += time_row(row, threads, args.seconds, args.device)
    table = as_table(timings)
    print(as_line(machine(args.device)))
    print(table)
    print(as_summary(timings))
    if args.output:
        write(args.output, timings, table, args.device)
    return 1 if any(t.goal.endswith("missed") for t in timings) else 0


if __name__ == "__main__":
    sys.exit(main())
