"""The page of a comparison: table, conclusions, plots, costs, and how it was measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from mmattn.reports.html import components as part
from mmattn.reports.html.components import Html
from mmattn.reports.html.page import Report
from mmattn.reports.runs.pictures import picture

from .markdown import beside_cells, conclusions, facts, method, seed_cells
from .results import ComparisonResults
from .sentences import controls
from .summary import Cells, cost_cells, summary_cells


def write_comparison_page(results: ComparisonResults, plots: Mapping[str, str], path: Path) -> Path:
    """Write the page; its plots lie in the same folder.

    Args:
        results: Results of the comparison.
        plots: File name of each plot, by its title.
        path: File to write.
    """
    comparison = results.comparison
    blocks = ", ".join(v.label for v in comparison.variants[1:] if not v.is_control)
    places = ", ".join(str(place) for place in comparison.places)
    name = Path(comparison.config.rpartition("::")[2]).stem
    report = Report(f"{name}: {blocks}", f"The network with each block at {places}, and without.")
    report.add(part.cards(_cards(results)))
    sections: dict[str, list[Html]] = {
        "Result": [_table(summary_cells(results)), _list(conclusions(results))],
        "Plots": [p for title, file in plots.items() for p in picture(path.parent / file, title)],
        "Controls": [_list(controls(results))],
        "Costs": [_table(cost_cells(results))],
    }
    for metric in results.beside:
        sections[f"Beside: {metric}"] = [_table(beside_cells(results, metric))]
    sections |= {
        f"{results.metric} of each seed": [_table(seed_cells(results))],
        "How it was measured": [_list(method(results))],
        "To repeat it": [part.code("\n".join(comparison.commands)), _list(facts(results))],
    }
    for title, parts in sections.items():
        if parts:
            report.section(title, *parts)
    report.footer = "Every number is in report.json, every run in runs.csv beside this page."
    return report.write(path)


def _cards(results: ComparisonResults) -> list[tuple[str, str, str]]:
    cards = []
    for row in results.rows[:8]:
        if row.values:
            note = row.verdict.word if row.verdict is not None else f"{len(row.values)} seeds"
            cards.append((row.label, f"{row.mean:.{results.digits}f}", f"{results.metric}; {note}"))
    return cards


def _table(cells: Cells) -> Html:
    head, rows = cells
    return part.table(head, rows, numbers=range(1, len(head)))


def _list(lines: Iterable[str]) -> Html:
    """Turn the lines of a Markdown list into one of a page."""
    return part.bullets(re.sub(r"^- ", "", line).replace("`", "") for line in lines)
