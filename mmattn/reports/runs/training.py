"""The page of a training: what it is, how it went, what came out, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from mmattn.reports.curves import Curve, smoothed
from mmattn.reports.html import components as part
from mmattn.reports.html.charts import Line, line_chart
from mmattn.reports.html.components import Html
from mmattn.reports.html.page import Report
from mmattn.reports.number_formats import count, duration, file_size

from .about import (
    command_section,
    dataset_section,
    environment_section,
    model_section,
    warnings_section,
)
from .evaluation import Section, evaluation_sections
from .facts import PAGE
from .left import Left, best_point
from .pictures import picture

#: Curves of a chart beyond which the rest has a chart of its own.
_CURVES = 10
_ENDS = {
    "interrupted": "This training was interrupted",
    "failed": "This training failed",
    "running": "This training has not ended, or was killed",
}


def write_training_report(
    left: Left, path: str | Path | None = None, *, metric: str | None = None
) -> Path:
    """Write the page of a training from what it left; nothing is measured.

    Args:
        left: The training.
        path: File to write; ``report.html`` in the folder of the run by default.
        metric: Metric to look at first, one of the run's; the task's usual one by default.
    """
    if metric is not None:
        left = replace(left, preferred=metric)
    name = Path(left.facts.get("config") or _config_name(left)).stem
    report = Report(name, _summary(left))
    ending = _ending(left)
    if ending:
        report.add(ending)
    report.add(part.cards(_cards(left)))
    for title, parts in _sections(left):
        if parts:
            report.section(title, *parts)
    report.footer = (
        f"Written from the files of {left.folder}; mmattn report {left.folder} writes this page "
        "again."
    )
    return report.write(path or left.folder / PAGE)


def _config_name(left: Left) -> str:
    files = sorted(left.folder.glob("*.py"), key=lambda file: file.stat().st_mtime)
    return files[-1].name if files else left.folder.resolve().name


def _summary(left: Left) -> str:
    facts = left.facts
    model = facts.get("model") or {}
    parts = [f"A training of {model['type']}" if model.get("type") else "A training"]
    if facts.get("task"):
        parts.append(f"for {facts['task']}")
    train = next((d for d in facts.get("data") or () if d.get("split") == "train"), None)
    if train:
        parts.append(f"on {train['images']} images")
    text = " ".join(parts)
    began = next((start.log.first for start in left.starts if start.log.first), None)
    if began:
        text += f", begun {began:%Y-%m-%d %H:%M}"
    if len(left.starts) > 1:
        text += f", started {len(left.starts)} times"
    return f"{text}."


def _ending(left: Left) -> Html | None:
    ended = left.facts.get("ended")
    if left.facts and ended is None:
        ended = {"how": "running"}
    how = (ended or {}).get("how")
    if how not in _ENDS:
        return None
    text = _ENDS[how]
    if (ended or {}).get("step") is not None:
        text += f" after step {ended['step']}"  # pyright: ignore[reportOptionalSubscript]
    if error := (ended or {}).get("error"):
        text += f": {str(error).rstrip('.')}"
    return part.banner(f"{text}. The page shows how far it came.", mild=how != "failed")


def _cards(left: Left) -> list[tuple[str, str, str]]:
    cards = []
    name, validation = left.metric, left.curves[1]
    if name is not None:
        step, value = best_point(name, validation[name])
        last = validation[name][-1]
        unit = left.validation_axis
        note = (
            f"{unit} {step:g}, the last: {last[1]:.4g}" if last[0] != step else f"{unit} {step:g}"
        )
        cards.append((f"best {name}", f"{value:.4g}", note))
    loss = left.curves[0].get("loss")
    if loss:
        cards.append(("loss", f"{loss[-1][1]:.4g}", f"at iteration {loss[-1][0]:g}"))
    if left.seconds is not None:
        cards.append(("training", duration(left.seconds), "by its log, validations included"))
    times, waits = left.speed.get("time"), left.speed.get("data_time")
    if times:
        note = ""
        if waits:
            share = sum(v for _, v in waits) / max(sum(v for _, v in times), 1e-9)
            note = f"{share:.0%} of it waiting for data"
        cards.append(("one step", f"{median(v for _, v in times):.3g} s", note))
    model = left.facts.get("model") or {}
    if model.get("parameters"):
        flops = f"{count(model['flops'])}FLOPs" if model.get("flops") else ""
        cards.append(("parameters", count(model["parameters"]), flops))
    return cards


def _sections(left: Left) -> list[Section]:
    evaluated = left.evaluated("val")
    return [
        ("Curves", _curves(left)),
        *(evaluation_sections(evaluated, "val") if evaluated else ()),
        ("Training images", _batches(left)),
        ("Dataset", dataset_section(left.facts)),
        ("Model", model_section(left.facts)),
        ("Speed and memory", _speed(left)),
        ("Warnings", warnings_section([start.log for start in left.starts])),
        ("Command and config", command_section(left.starts)),
        ("Files", _files(left)),
        ("Environment", environment_section(left.facts)),
    ]


def _curves(left: Left) -> list[Html]:
    training, validation = left.curves
    groups: list[list[str]] = []
    if training.get("loss"):
        groups.append([part.heading("Loss"), _loss(training["loss"])])
    parts = [name for name in training if "loss" in name and name != "loss"]
    if len(parts) > 1 or (parts and "loss" not in training):
        groups.append([part.heading("Parts of the loss"), _chart(training, parts, "iteration")])
    rates = [name for name in training if name.endswith("lr")]
    # Optimisers with a rate for each part of the network log the same curve often.
    rates = [n for n in rates if n == rates[0] or training[n] != training[rates[0]]]
    if rates:
        groups.append([part.heading("Learning rate"), _chart(training, rates, "iteration")])
    for title, names in _metric_groups(validation, left.metric).items():
        groups.append([part.heading(title), _chart(validation, names, left.validation_axis)])
    if not groups:
        return [part.paragraph("No values were recorded: the run ended before the first ones.")]
    return [part.columns(*groups)]


def _metric_groups(validation: Mapping[str, Curve], first: str | None) -> dict[str, list[str]]:
    """Group metrics into charts: those of losses, of fractions and of percent apart."""
    groups: dict[str, list[str]] = {}
    for name in sorted(validation, key=lambda name: name != first):
        largest = max(value for _, value in validation[name])
        kind = "Validation"
        if "loss" in name:
            kind = "Validation loss"
        elif (first is not None) and (largest <= 1) != (_largest(validation[first]) <= 1):
            kind = "Validation, other scale"
        groups.setdefault(kind, []).append(name)
    split: dict[str, list[str]] = {}
    for kind, names in groups.items():
        for begin in range(0, len(names), _CURVES):
            title = kind if not begin else f"{kind} ({begin // _CURVES + 1})"
            split[title] = names[begin : begin + _CURVES]
    return split


def _largest(curve: Curve) -> float:
    return max(value for _, value in curve)


def _loss(loss: Curve) -> Html:
    window = max(len(loss) // 12, 1)
    lines = [Line("loss", loss, 0, faint=window > 1)]
    if window > 1:
        lines.append(Line(f"mean of {window} values", smoothed(loss, window), 0))
    values = [value for _, value in loss]
    wide = min(values) > 0 and max(values) > 50 * min(values)
    return line_chart(
        lines,
        x_label="iteration",
        y_label="loss",
        description=f"Training loss over {len(loss)} recorded iterations",
        logarithmic=wide,
    )


def _chart(curves: Mapping[str, Curve], names: Sequence[str], x_label: str) -> Html:
    return line_chart(
        [Line(name, curves[name]) for name in names],
        x_label=x_label,
        y_label="",
        description=f"{', '.join(names)} over {x_label}s",
    )


def _batches(left: Left) -> list[Html]:
    file = left.batches()
    if file is None:
        return []
    said = (
        "The first images of the training as the network got them, augmented, with their ground "
        "truth; what the model itself does to a batch, such as another size, comes after."
    )
    return [
        part.paragraph(said, muted=True),
        *picture(file, "Augmented training images with their ground truth"),
    ]


def _speed(left: Left) -> list[Html]:
    curves = left.speed
    facts: dict[str, object] = {}
    times, waits = curves.get("time"), curves.get("data_time")
    if times:
        values = [value for _, value in times]
        facts["a step, median"] = f"{median(values):.4g} s"
        facts["the slowest recorded"] = f"{max(values):.4g} s"
    if waits:
        facts["waiting for data, median"] = f"{median(v for _, v in waits):.4g} s a step"
    start = left.facts.get("start") or {}
    if times and start.get("images_at_a_time"):
        rate = start["images_at_a_time"] / max(median(v for _, v in times), 1e-9)
        facts["images a second"] = f"{rate:.3g}"
    if curves.get("memory"):
        facts["memory of the device, highest"] = f"{_largest(curves['memory']):.0f} MiB"
    if left.facts.get("peak_memory_mib"):
        facts["memory of the process, highest"] = f"{left.facts['peak_memory_mib']:.0f} MiB"
    if left.seconds is not None:
        facts["first to last line of the log"] = duration(left.seconds)
    if not facts:
        return []
    groups: list[list[str]] = [[part.facts(facts)]]
    if times and len(times) > 1:
        lines = [Line("step", times), *([Line("waiting for data", waits)] if waits else [])]
        chart = line_chart(
            lines, x_label="iteration", y_label="seconds", description="Seconds a step"
        )
        groups.append([chart])
    return [part.columns(*groups)]


def _files(left: Left) -> list[Html]:
    weights = sorted(left.folder.glob("*.pth"), key=lambda file: file.name)
    lines = [f"{file.name}: {file_size(file.stat().st_size)}" for file in weights]
    for start in left.starts:
        kept = [f for f in sorted(start.folder.rglob("*")) if f.is_file()]
        logs = [f.name for f in kept if f.suffix == ".log"]
        lines.append(
            f"{start.folder.name}/: {len(kept)} files, among them "
            + ", ".join([*logs, "vis_data/scalars.json", "vis_data/config.py"])
        )
    return [part.bullets(lines)]
