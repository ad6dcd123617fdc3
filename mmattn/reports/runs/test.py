"""The page of a test: what a checkpoint reached on the test data."""

from __future__ import annotations

import json
from pathlib import Path

from mmattn.reports.html import components as part
from mmattn.reports.html.page import Report
from mmattn.reports.number_formats import count, duration

from .about import (
    command_section,
    dataset_section,
    environment_section,
    model_section,
    warnings_section,
)
from .evaluation import Section, evaluation_sections
from .facts import PAGE
from .left import Start, choose_metric

#: Values that are about the test, not about the network.
_NO_RESULT = ("data_time", "time", "memory")


def write_test_report(start: Start, path: str | Path | None = None) -> Path:
    """Write the page of a test from what it left; nothing is measured.

    Args:
        start: Folder of the test.
        path: File to write; ``report.html`` in the folder of the test by default.
    """
    facts, values = start.facts, _results(start)
    name = Path(facts.get("config") or start.folder.resolve().name).stem
    summary = f"A test of {facts['checkpoint']}." if facts.get("checkpoint") else "A test."
    report = Report(f"{name}: test", summary)
    ended = facts.get("ended") or {}
    if ended.get("how") in ("failed", "interrupted"):
        report.add(part.banner(f"This test was {ended['how']}: {ended.get('error') or ''}"))
    cards = []
    metric = choose_metric(list(values), facts.get("metric"))
    if metric is not None:
        cards.append((metric, f"{values[metric]:.4g}", "on the test data"))
    if start.log.seconds is not None:
        cards.append(("test", duration(start.log.seconds), "by its log"))
    if (facts.get("model") or {}).get("parameters"):
        cards.append(("parameters", count(facts["model"]["parameters"]), ""))
    report.add(part.cards(cards))
    rows = [(name, f"{value:.6g}") for name, value in values.items()]
    sections: list[Section] = [
        ("Results", [part.table(("metric", "value"), rows, numbers=(1,))] if rows else []),
        *evaluation_sections(start, "test"),
        ("Dataset", dataset_section(facts)),
        ("Model", model_section(facts)),
        ("Warnings", warnings_section([start.log])),
        ("Command and config", command_section([start])),
        ("Environment", environment_section(facts)),
    ]
    for title, parts in sections:
        if parts:
            report.section(title, *parts)
    report.footer = f"Written from the files of {start.folder}."
    return report.write(path or start.folder / PAGE)


def _results(start: Start) -> dict[str, float]:
    """Return the results of a test from the file that mmengine writes, ``TIME.json``."""
    for file in sorted(start.folder.glob("*.json")):
        lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
        if not lines:
            continue
        found = json.loads(lines[-1])
        return {
            name: value
            for name, value in found.items()
            if isinstance(value, (int, float)) and name.rpartition("/")[2] not in _NO_RESULT
        }
    return {}
