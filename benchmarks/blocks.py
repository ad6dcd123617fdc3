"""Time every attention block against its textbook form (``textbook_blocks``) on a CPU.

The two take turns in one process and one thread, in processor time, which leaves out the time that
others have the processor; that they agree, gradients included, is asserted first. The table shows
the textbook form's median time over the block's: 1 is as fast, 2 is twice as fast.

    python benchmarks/blocks.py                                        all blocks
    python benchmarks/blocks.py --blocks ECA SimAM --seconds 4         some of them, for longer
    python benchmarks/blocks.py --output benchmarks/results/blocks-cpu     also writes .json and .md
    python benchmarks/blocks.py --show benchmarks/results/blocks-cpu.json  what was written
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from machine import as_line, machine
from ops import Timing, time_row

from mmattn.tables import markdown_table


def main(argv: list[str] | None = None) -> int:
    """Print the table, and write it where ``--output`` says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", nargs="+", metavar="NAME", help="blocks (default: all)")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each row (1)")
    parser.add_argument("--output", type=Path, help="path without suffix for a .json and a .md")
    parser.add_argument("--show", type=Path, help="print the table of a .json and measure nothing")
    args = parser.parse_args(argv)
    if args.show:
        content = json.loads(args.show.read_text(encoding="utf-8"))
        print(
            f"{as_line(content['machine'])}\n\n{ratios([Timing(**t) for t in content['timings']])}"
        )
        return 0

    import torch
    from textbook_blocks import TEXTBOOKS

    unknown = sorted(set(args.blocks or ()) - TEXTBOOKS.keys())
    if unknown:
        parser.error(f"no such block: {', '.join(unknown)}; choose from {', '.join(TEXTBOOKS)}")
    from ops_cases.attention_blocks import SMALL, rows

    torch.set_num_threads(1)
    facts, timings = machine("cpu"), []
    small = " x ".join(map(str, SMALL[1:]))
    for row in sorted(rows("cpu"), key=lambda row: small not in row.name):  # the quick ones first
        block = row.name.partition(",")[0]
        if (args.blocks and block not in args.blocks) or args.rows not in row.name:
            continue
        print(row.name, file=sys.stderr, flush=True)
        timings += time_row(row, 1, args.seconds, "cpu", time.process_time)
        if args.output:  # now, so that whoever stops it keeps what was measured
            write(args.output, facts, timings)
    print(page(facts, timings))
    return 0


def write(path: Path, facts: dict[str, str], timings: list[Timing]) -> None:
    """Write the results as JSON and as tables."""
    content = {"machine": facts, "timings": [asdict(t) for t in timings]}
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page(facts, timings), encoding="utf-8")


def page(facts: dict[str, str], timings: list[Timing]) -> str:
    """Return the machine and both tables."""
    return f"{as_line(facts)}\n\n{ratios(timings)}\n\n{milliseconds(timings)}\n"


def ratios(timings: list[Timing]) -> str:
    """Return a Markdown table of the ratios of median times: a line for each block and size."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    columns: list[str] = []
    for ours, textbook in _pairs(timings):
        block, size, layout, passes = ours.row.split(", ")
        column = f"{'step' if 'backward' in passes else passes}, {layout}"
        columns.append(column)
        cells.setdefault((block, size), {})[column] = f"{textbook.median / ours.median:.2f}"
    columns = list(dict.fromkeys(columns))
    lines = [(*key, *(found.get(name, "") for name in columns)) for key, found in cells.items()]
    return markdown_table(("block", "map", *columns), lines)


def milliseconds(timings: list[Timing]) -> str:
    """Return a Markdown table of the median times, in milliseconds, and of kept megabytes."""
    lines = []
    for ours, textbook in _pairs(timings):
        kept = [f"{t.saved_mb:.1f}" if t.saved_mb else "" for t in (ours, textbook)]
        times = (f"{ours.median:.2f}", f"{textbook.median:.2f}")
        lines.append((ours.row, *times, *kept, f"{ours.load:.1f}"))
    head = ("row", "block, ms", "textbook, ms", "block keeps, MB", "textbook keeps, MB", "load")
    return markdown_table(head, lines)


def _pairs(timings: list[Timing]) -> list[tuple[Timing, Timing]]:
    """Return each row's times of the block and of its textbook form, in one thread."""
    timings = [t for t in timings if t.threads == 1]  # older results have more
    textbook = {t.row: t for t in timings if t.contender != "mmattn"}
    return [(t, textbook[t.row]) for t in timings if t.contender == "mmattn"]


if __name__ == "__main__":
    sys.exit(main())
