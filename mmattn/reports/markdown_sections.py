"""The Markdown page of a report, and its sections that every task has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmattn.io import atomic_write
from mmattn.tables import markdown_table

from .curves import plot_curves
from .number_formats import duration
from .run import Run


def write_page(sections: Iterable[Sequence[str]], folder: Path) -> Path:
    """Write the paragraphs of all sections as ``README.md`` into a folder; return the page."""
    paragraphs = [paragraph for section in sections for paragraph in section]
    page = folder / "README.md"
    with atomic_write(page, "w") as file:
        file.write("\n\n".join(paragraphs) + "\n")
    return page


def head(run: Run) -> list[str]:
    """Write title, summary, commands, training time and size."""
    parts = [f"# {run.title}", run.summary]
    commands = [step.command for step in run.steps if step.command]
    if commands:
        parts += ["Written by", "\n".join(["```bash", *commands, "```"])]
    if run.training_minutes is not None:
        time = duration(60 * run.training_minutes)
        parts.append(f"Training took {time}, validations included.")
    if run.size is not None:
        n, c, h, w = run.size.input_shape
        parts.append(
            f"{run.size.parameters:,} parameters; {run.size.flops / 1e9:.3f} GFLOPs at "
            f"{n} x {c} x {h} x {w} (2 per multiply-add)."
        )
    return [part for part in parts if part]


def training(run: Run, folder: Path) -> list[str]:
    """Write the training curves, as plots into ``folder``."""
    if not run.scalars:
        return []
    files = plot_curves(
        run.scalars, folder, validation_axis=run.validation_axis, plots=("loss", "metrics")
    )
    alt_texts = {"curves_loss.png": "loss", "curves_metrics.png": "validation"}
    plots = [f"![{alt_texts[file.name]}]({file.name})" for file in files]
    return ["## Training", "\n".join(plots)] if plots else []


def parity_table(parity: Mapping[str, Any], folder: Path) -> list[str]:
    """Write ``parity.json`` into ``folder``, and its content: a row for each size checked."""
    with atomic_write(folder / "parity.json", "w") as file:
        file.write(json.dumps(parity, indent=2) + "\n")
    rows = []
    for row in parity["rows"]:
        size = f"{row['batch']} x 3 x {row['height']} x {row['width']} ({row['name']})"
        difference, relative = (
            "-" if row[key] is None else f"{row[key]:.1e}" for key in ("max_difference", "relative")
        )
        rows.append([size, difference, relative, f"{100 * row['agreement']:.4f} %"])
    agreement = parity.get("agreement_title", "same class")
    titles = ["input", "largest difference of logits", "relative", agreement]
    return [markdown_table(titles, rows, align="lrrr"), *parity["notes"]]


def environment(tables: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Write names and values of the machine and the versions."""
    lines = [f"- {name}: {value}" for table in tables.values() for name, value in table.items()]
    return ["## Environment", "\n".join(lines)] if lines else []
