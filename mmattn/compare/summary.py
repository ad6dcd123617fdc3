"""The tables of a comparison as cells, which Markdown, CSV and LaTeX write in their own way."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from statistics import median

from .results import ComparisonResults, Measured, Row
from .statistics import Difference, Interval

Cells = tuple[list[str], list[list[str]]]
_MEMORY = ("peak_inference", "peak_training", "saved")
# What LaTeX reads as a command; the backslash is the first to be replaced.
_LATEX = (
    *(("\\", r"\textbackslash{}"), ("_", r"\_"), ("%", r"\%"), ("&", r"\&"), ("#", r"\#")),
    *(("$", r"\$"), ("±", r"$\pm$"), ("-", "{-}"), ("<", "$<$")),
)


def summary_cells(results: ComparisonResults) -> Cells:
    """Return head and rows: metric, difference, intervals, p, effect, verdict, equal time."""
    head = ["variant", f"{results.metric}, mean ± sd", "difference to none", "t 95 %"]
    head += ["images 95 %", "p", "effect", "verdict", "visible", "difference to the wider host"]
    head += ["step time", "equal time: difference"]
    return head, [_summary_row(row, results.digits) for row in results.rows]


def _summary_row(row: Row, digits: int) -> list[str]:
    cells = [row.label, mean_cell(row, digits) if row.values else "failed"]
    cells += difference_cells(row.vs_base, digits)
    verdict = row.verdict
    if verdict is None or row.vs_base is None:
        cells += [""] * 4
    else:
        effect = row.vs_base.effect_size
        cells += [
            p_text(verdict.p),
            "-" if effect is None else f"{effect:+.2f}",
            verdict.word,
            "-" if verdict.visible is None else f"{verdict.visible:.{digits}f}",
        ]
    cells.append("" if row.vs_wider is None else f"{row.vs_wider.mean:+.{digits}f}")
    cells.append("" if row.ratio is None else f"x {row.ratio:.2f}")
    equal = row.equal_time.vs_base if row.equal_time else None
    cells.append("" if equal is None else f"{equal.mean:+.{digits}f}")
    return cells


def cost_cells(results: ComparisonResults) -> Cells:
    """Return head and rows: parameters, FLOPs, times and memory; others as what they add."""
    head = ["variant", "parameters", "MFLOPs", "latency min / median, ms", "difference, ms"]
    head += ["exported min / median, ms", "difference, ms", "step, ms", "peak inference, MB"]
    head += ["peak training, MB", "saved, MB"]
    return head, [[row.label, *_cost_row(row, results.base)] for row in results.rows]


def _cost_row(row: Row, base: Row) -> list[str]:
    if row.cost is None:
        return [""] * 10
    cost = row.cost
    parameters, flops = f"{cost['parameters']:,}", f"{cost['flops'] / 1e6:.1f}"
    if base.cost is not None and row is not base:
        parameters = f"{cost['parameters'] - base.cost['parameters']:+,}"
        flops = f"{(cost['flops'] - base.cost['flops']) / 1e6:+.3g}"
    times = [*_time_cells(row, base, "latency"), *_time_cells(row, base, "exported")]
    memory = [f"{cost[key] / 1e6:.1f}" for key in _MEMORY]
    return [parameters, flops, *times, f"{1e3 * median(cost['step']):.0f}", *memory]


def _time_cells(row: Row, base: Row, of: str) -> list[str]:
    """Write the seconds of a forward pass, and the difference to the base with its interval."""
    seconds = row.cost.get(of)
    if not seconds:
        return ["-", ""]
    own = f"{1e3 * min(seconds):.1f} / {1e3 * median(seconds):.1f}"
    if row is base or not (base.cost or {}).get(of):
        return [own, ""]
    middle, (low, high) = row.latency_difference(base, of)
    return [own, f"{1e3 * middle:+.2f} [{1e3 * low:+.2f}, {1e3 * high:+.2f}]"]


def mean_cell(measured: Measured, digits: int) -> str:
    """Write mean and standard deviation over seeds."""
    spread = "" if measured.std is None else f" ± {measured.std:.{digits}f}"
    return f"{measured.mean:.{digits}f}{spread}"


def difference_cells(entry: Difference | None, digits: int) -> list[str]:
    """Write the difference and its two intervals."""
    if entry is None:
        return ["", "", ""]
    ends = (entry.t_interval, entry.image_interval)
    return [f"{entry.mean:+.{digits}f}", *(interval_text(interval, digits) for interval in ends)]


def interval_text(interval: Interval | None, digits: int) -> str:
    """Write an interval."""
    if interval is None:
        return "-"
    return f"[{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"


def p_text(p: float | None) -> str:
    """Write a p value."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def csv_text(cells: Cells) -> str:
    """Write a table as CSV."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(cells[0])
    writer.writerows(cells[1])
    return file.getvalue()


def latex_text(cells: Cells, caption: str) -> str:
    """Write a table as LaTeX, for the package booktabs.

    Args:
        cells: Head and rows.
        caption: Text below the table.
    """
    head, rows = cells
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}"]
    lines += [r"\toprule", _latex_row(head), r"\midrule", *map(_latex_row, rows), r"\bottomrule"]
    lines += [r"\end{tabular}", rf"\caption{{{_latex(caption)}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    for sign, command in _LATEX:
        text = text.replace(sign, command)
    return text
