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

from ops import time_and_report


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

    from detection_cases import find_rows

    chosen = [row for row in find_rows(args.device, args.subjects) if args.rows in row.name]
    return time_and_report(chosen, args)


if __name__ == "__main__":
    sys.exit(main())
