"""Sections about what a run was made of: data, model, command, config, machine, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmattn.reports.html import components as part
from mmattn.reports.html.components import Html
from mmattn.reports.html.run_sections import environment_columns
from mmattn.reports.log_file import RunLog
from mmattn.reports.number_formats import count, file_size, shape

from .left import Start

#: Classes and warnings beyond which the rest is folded.
_CLASSES, _WARNINGS = 30, 12


def dataset_section(facts: Mapping[str, Any]) -> list[Html]:
    """Write each dataset: where it lies, its fingerprint, its classes and sizes."""
    parts: list[Html] = []
    for data in facts.get("data") or ():
        parts.append(part.heading(f"{data['split']}: {data['images']} images, {data['type']}"))
        rows: dict[str, object] = {}
        if data.get("root"):
            rows["folder"] = data["root"]
        if mark := data.get("fingerprint"):
            rows["files"] = f"{mark['files']}, {file_size(mark['bytes'])}"
            rows["fingerprint of names and sizes"] = f"SHA-256 {mark['sha256']}"
        if rows:
            parts.append(part.facts(rows))
        if data.get("notes"):
            parts.append(part.bullets(data["notes"]))
        groups = [group for group in (_classes(data), _sizes(data)) if group]
        if groups:
            parts.append(part.columns(*groups))
    return parts


def _classes(data: Mapping[str, Any]) -> list[str]:
    counts, unit = data.get("counts") or {}, data.get("unit") or ""
    if not counts:
        return []
    total = sum(counts.values()) or 1
    rows = [(name, n, f"{count(n)}, {n / total:.1%}") for name, n in counts.items()]
    looked = ", ".join(f"{n} {what}" for what, n in (data.get("looked_at") or {}).items())
    parts: list[str] = [part.heading(f"{unit} of each class".strip())]
    if unit == "pixels" and looked:
        parts.append(part.paragraph(f"Looked at: {looked}.", muted=True))
    parts.append(part.bars(rows[:_CLASSES]))
    if len(rows) > _CLASSES:
        parts.append(part.folded(f"all {len(rows)} classes", part.bars(rows)))
    return parts


def _sizes(data: Mapping[str, Any]) -> list[str]:
    parts: list[str] = []
    for histogram in data.get("histograms") or ():
        rows = [(name, n, str(n)) for name, n in histogram["bins"].items()]
        parts += [part.heading(histogram["title"])]
        if histogram.get("note"):
            parts.append(part.paragraph(histogram["note"], muted=True))
        parts.append(part.bars(rows))
    return parts


def model_section(facts: Mapping[str, Any]) -> list[Html]:
    """Write the parts of the model with their parameters, and the operations of one image."""
    model = facts.get("model") or {}
    if not model:
        return []
    rows = [
        (entry["name"], entry["type"], f"{entry['parameters']:,}", f"{entry['trained']:,}")
        for entry in model.get("parts") or ()
    ]
    rows.append(("all", model["type"], f"{model['parameters']:,}", f"{model['trained']:,}"))
    head = ("part", "type", "parameters", "trained")
    parts = [part.table(head, rows, numbers=(2, 3), total=True)]
    about: dict[str, object] = {}
    if model.get("flops"):
        about["one validation image"] = f"{model['flops'] / 1e9:.3f} GFLOPs (2 per multiply-add)"
        about["counted at"] = shape(*model["input_shape"])
    elif model.get("flops_missing"):
        about["FLOPs"] = f"not counted: {model['flops_missing']}"
    if model.get("start"):
        about["weights at the start"] = model["start"]
    return [*parts, part.facts(about)] if about else parts


def command_section(starts: Sequence[Start]) -> list[Html]:
    """Write the command of each start, and the whole config of the last one."""
    parts: list[Html] = []
    for number, start in enumerate(starts):
        if start.command:
            parts.append(part.heading("Command" if not number else f"Start {number + 1}"))
            parts.append(part.code(start.command))
    config = starts[-1].config
    if config:
        lines = config.count("\n")
        parts.append(part.folded(f"the whole config, {lines} lines", part.code(config)))
    return parts


def warnings_section(logs: Iterable[RunLog]) -> list[Html]:
    """Write the warnings and errors of the logs, each once, with how often it was logged."""
    told: dict[str, int] = {}
    for log in logs:
        for text, times in log.warnings.items():
            told[text] = told.get(text, 0) + times
    lines = [text if times == 1 else f"{text} ({times} times)" for text, times in told.items()]
    parts = [part.bullets(lines[:_WARNINGS])] if lines else []
    if len(lines) > _WARNINGS:
        parts.append(part.folded(f"{len(lines) - _WARNINGS} more", part.bullets(lines[_WARNINGS:])))
    return parts


def environment_section(facts: Mapping[str, Any]) -> list[Html]:
    """Write machine, backends and versions, and what the run was started with."""
    start = {
        name.replace("_", " "): value
        for name, value in (facts.get("start") or {}).items()
        if value not in (None, "")
    }
    return environment_columns({"run": start, **(facts.get("environment") or {})})
