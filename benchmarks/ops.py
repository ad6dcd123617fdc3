"""Time the operators against the alternatives.

The contenders of a row compute the same from the same inputs, which is asserted first; then they
take turns in one process, so that a busy moment of the machine slows all of them. Shortest and
median times are kept, with the machine's load. Ratios are ratios of the shortest times. On a busy
machine, ``--processor-time`` leaves out the time that others have the processor.

    python benchmarks/ops.py                              rows with goals, 1 and 2 threads
    python benchmarks/ops.py depthwise_conv2d --all       every row of one operator
    python benchmarks/ops.py --output benchmarks/results/ops-cpu     also writes .json and .md
    python benchmarks/ops.py --show benchmarks/results/ops-cpu.json  what was written, in short
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import as_line, machine

from mmattn.tables import markdown_table

# Idle threads should sleep: spinning ones would slow the contender that follows.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Timing:
    """Times of one contender in one row, in milliseconds."""

    op: str
    row: str
    threads: int
    contender: str
    shortest: float
    median: float
    runs: int
    ratio: float  # of its shortest time to ours
    saved_mb: float | None  # kept for the backward pass
    goal: str
    load: float


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status: 0 when all goals are reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ops", nargs="*", help="operators (default: all)")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--all", action="store_true", help="include rows without a goal")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="time for each row and thread count"
    )
    parser.add_argument(
        "--processor-time", action="store_true", help="of the process, not of the clock; one thread"
    )
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    parser.add_argument("--show", type=Path, help="print the summary of this .json and stop")
    args = parser.parse_args(argv)
    if args.show:
        print(summary_of(args.show))
        return 0

    if args.processor_time and (args.threads != [1] or args.device != "cpu"):
        parser.error("--processor-time adds up all threads: it needs --threads 1 and a CPU")
    from ops_cases import find_rows

    chosen = [
        row
        for row in find_rows(args.device, args.ops)
        if args.rows in row.name and (args.all or args.ops or row.goals or row.at_most)
    ]
    return time_and_report(chosen, args)


def time_and_report(rows, args: argparse.Namespace) -> int:
    """Time rows, print the table and write it where ``args.output`` says; return the exit status.

    ``args`` has ``threads``, ``device``, ``seconds`` and ``output``, as this file's commands read
    them.
    """
    import torch

    timings: list[Timing] = []
    clock = time.process_time if getattr(args, "processor_time", False) else time.perf_counter
    for row in rows:
        for threads in args.threads if args.device == "cpu" else [torch.get_num_threads()]:
            torch.set_num_threads(threads)
            print(f"{row.op}: {row.name} ({threads} threads)", file=sys.stderr, flush=True)
            timings += time_row(row, threads, args.seconds, args.device, clock)
    table = as_table(timings)
    print(as_line(machine(args.device)))
    print(table)
    print(as_summary(timings))
    if args.output:
        write(args.output, timings, table, args.device)
    return 1 if any(t.goal.endswith("missed") for t in timings) else 0


def time_row(
    row, threads: int, seconds: float, device: str, clock: Callable[[], float] = time.perf_counter
) -> list[Timing]:
    """Assert that the contenders of a row agree, then time them in turns."""
    contenders = row.setup()
    saved = {name: saved_bytes(run) for name, run in contenders.items()}
    assert_parity(row, {n: run() for n, run in contenders.items() if row.comparable(n)})
    times: dict[str, list[float]] = {name: [] for name in contenders}
    load = os.getloadavg()[0]
    start, names = time.perf_counter(), list(contenders)
    while time.perf_counter() - start < seconds or len(times[names[0]]) < 3:
        for name in names:
            times[name].append(time_once(contenders[name], device, clock))
        names.append(names.pop(0))  # so that none always follows the same one
    ours = min(times["mmattn"])
    return [
        Timing(
            row.op, row.name, threads, name, min(taken) * 1e3, statistics.median(taken) * 1e3,
            len(taken), min(taken) / ours, saved[name], verdict(row, name, min(taken) / ours), load,
        )
        for name, taken in times.items()
    ]  # fmt: skip


def time_once(run, device: str, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one run, including its work on the GPU."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    start = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def saved_bytes(run) -> float | None:
    """Return the megabytes that autograd keeps between forward and backward, each storage once."""
    from mmattn.training_memory import saved_for_backward

    return saved_for_backward(run)["other"] / 1e6 or None


def assert_parity(row, results: dict) -> None:
    """Exit with a message unless every comparable contender agrees with "mmattn"."""
    ours = results["mmattn"]
    for name, theirs in results.items():
        for index, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            scale = b.double().abs().max().clamp_min(1e-30)
            error = ((a.double() - b.double()).abs().max() / scale).item()
            if not error <= row.tolerance:
                raise SystemExit(
                    f"{row.op}, {row.name}: result {index} of mmattn and {name} differ by "
                    f"{error:.1e} of the largest value, so their times cannot be compared"
                )


def verdict(row, name: str, ratio: float) -> str:
    """Return the goal against a contender, and whether it is reached."""
    if name in row.goals:
        return f"{row.goals[name]:g}x {'reached' if ratio >= row.goals[name] else 'missed'}"
    if name in row.at_most:
        fine = 1 / ratio <= row.at_most[name]
        return f"at most {row.at_most[name]:g}x its time {'reached' if fine else 'missed'}"
    return ""


def as_table(timings: list[Timing]) -> str:
    """Return a Markdown table with one line per contender."""
    head = ("op", "row", "threads", "contender", "min ms", "median ms", "min ratio", "median ratio",
            "saved MB", "goal", "load")  # fmt: skip
    ours = {(t.op, t.row, t.threads): t for t in timings if t.contender == "mmattn"}
    lines = []
    for t in timings:
        median_ratio = t.median / ours[t.op, t.row, t.threads].median
        saved = "" if t.saved_mb is None else f"{t.saved_mb:.1f}"
        lines.append((t.op, t.row, str(t.threads), t.contender, f"{t.shortest:.2f}",
                      f"{t.median:.2f}", f"{t.ratio:.2f}", f"{median_ratio:.2f}", saved, t.goal,
                      f"{t.load:.1f}"))  # fmt: skip
    return markdown_table(head, lines)


def as_summary(timings: list[Timing]) -> str:
    """Return a Markdown table of the goals: speed-up over each contender, by number of threads.

    Goals of the form "at most" are about contenders that do less; there our time is divided by
    theirs. The last column is the memory that autograd keeps for the backward pass.
    """
    threads = sorted({t.threads for t in timings})
    ours = {(t.op, t.row): t.saved_mb for t in timings if t.contender == "mmattn"}
    cells_of: dict[tuple[str, ...], dict[int | str, str]] = {}
    for t in timings:
        if not t.goal:
            continue
        at_most = t.goal.startswith("at most")
        goal = t.goal.rsplit(" ", 1)[0].replace(" its time", "")
        against = f"{t.contender}, time over its" if at_most else t.contender
        ratio = 1 / t.ratio if at_most else t.ratio
        cell = f"{ratio:.2g}x" if ratio < 10 else f"{ratio:.0f}x"
        missed = " (missed)" if t.goal.endswith("missed") else ""
        kept = f"{ours[t.op, t.row]:.1f} / {t.saved_mb:.1f}" if t.saved_mb else ""
        row = cells_of.setdefault((t.op, t.row, against, goal), {"kept": kept})
        row[t.threads] = cell + missed
    counts = (f"{n} thread{'s' if n > 1 else ''}" for n in threads)
    head = ("operator", "case", "against", "goal", *counts, "kept MB, ours / theirs")
    lines = [
        (*key, *(cells.get(n, "") for n in threads), cells["kept"])
        for key, cells in cells_of.items()
    ]
    return markdown_table(head, lines)


def summary_of(path: Path) -> str:
    """Return the machine and the summary of saved results."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return (
        f"{as_line(content['machine'])}\n\n{as_summary([Timing(**t) for t in content['timings']])}"
    )


def write(path: Path, timings: list[Timing], table: str, device: str) -> None:
    """Write the results as JSON and as a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(device), "timings": [asdict(t) for t in timings]}
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    text = f"{as_line(machine(device))}\n\n{table}\n"
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"written: {path.with_suffix('.json')} and {path.with_suffix('.md')}")


if __name__ == "__main__":
    sys.exit(main())
