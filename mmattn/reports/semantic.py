"""The report of one semantic segmentation run, from first image to exported file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .charts import Line, line_chart, smoothed
from .curves import read_scalars
from .html import components as part
from .html.page import Report
from .overlays import blend, complete_palette, data_uri
from .story import Step


class Ious(Protocol):
    """IoU per class and their mean, in percent (``mmattn.export.accuracy.ClassIoUs``)."""

    classes: tuple[str, ...]
    ious: tuple[float, ...]
    pixel_accuracy: float

    @property
    def mean(self) -> float: ...


@dataclass(frozen=True)
class Sample:
    """One image, (H, W, 3) uint8 RGB, and three class maps, (H, W)."""

    image: np.ndarray
    truth: np.ndarray
    torch: np.ndarray
    onnx: np.ndarray


@dataclass
class SegmentationRun:
    """What is reported.

    Attributes:
        title, summary: The page's head.
        palette: RGB per class; what is missing is filled in.
        untrained, trained, exported: IoUs of the network before training, after it in torch, and
            of the exported file, all on the same images.
        num_images: How many images those are.
        scalars: mmengine's ``scalars.json`` files, oldest first.
        samples: Images to show.
        parity: Content of ``parity.json``.
        parameters, flops: Of one forward pass at ``input_shape``; 2 operations per multiply-add.
        input_shape: (N, C, H, W)
        file_bytes: Size of the exported file.
        steps: What was run, in order.
        environment: Tables of names and values (``mmattn.reports.environment``).
        notes: Sentences for the end of the page.
    """

    title: str
    summary: str
    palette: Sequence[Sequence[int]]
    untrained: Ious
    trained: Ious
    exported: Ious
    num_images: int
    scalars: Sequence[Path]
    samples: Sequence[Sample]
    parity: Mapping[str, Any]
    parameters: int
    flops: int
    input_shape: tuple[int, int, int, int]
    file_bytes: int
    steps: Sequence[Step]
    environment: Mapping[str, Mapping[str, str]]
    notes: Sequence[str] = field(default_factory=tuple)


def write_segmentation_report(run: SegmentationRun, path: str | Path) -> Path:
    """Write ``run`` as one self-contained HTML file."""
    palette = complete_palette(run.palette, len(run.trained.classes))
    report = Report(run.title, run.summary)
    report.add(_headline(run))
    report.section("Predictions", *_predictions(run, palette))
    report.section("IoU per class", *_class_table(run, palette))
    report.section("Training", *_curves(run))
    report.section("Does the exported file compute the same?", *_parity(run))
    report.section("What was run", *_steps(run))
    report.section("Model and environment", *_environment(run))
    report.footer = " ".join(run.notes)
    return report.write(path)


def count(number: float) -> str:
    """Three digits and a unit: 929139 -> "929 k"."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def size(*sides: int) -> str:
    """Sides with multiplication signs between them."""
    return " \u00d7 ".join(map(str, sides))


def duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes and seconds."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _headline(run: SegmentationRun) -> str:
    relative = [row["relative"] for row in run.parity["rows"] if row["relative"] is not None]
    agreement = min(row["agreement"] for row in run.parity["rows"])
    return part.cards(
        [
            ("mIoU, trained", f"{run.trained.mean:.1f} %", f"untrained {run.untrained.mean:.1f} %"),
            (
                "mIoU, onnxruntime",
                f"{run.exported.mean:.1f} %",
                f"{run.exported.mean - run.trained.mean:+.3f} against torch",
            ),
            (
                "largest logit difference",
                f"{max(relative):.1e}" if relative else "-",
                f"relative; same class {100 * agreement:.3f} %",
            ),
            (
                "parameters",
                count(run.parameters),
                f"{count(run.flops)}FLOPs at {size(*run.input_shape[2:])}",
            ),
            ("whole run", duration(sum(step.seconds for step in run.steps)), _cores(run)),
        ]
    )


def _cores(run: SegmentationRun) -> str:
    cores = run.environment.get("machine", {}).get("CPU cores", "?")
    return f"on {cores} CPU core{'' if cores == '1' else 's'}"


def _predictions(run: SegmentationRun, palette: list[tuple[int, int, int]]) -> list[str]:
    head = ("image", "ground truth", "torch", "onnxruntime")
    rows = [
        [
            data_uri(sample.image, jpeg_quality=92),
            *(
                data_uri(blend(sample.image, classes, palette))
                for classes in (sample.truth, sample.torch, sample.onnx)
            ),
        ]
        for sample in run.samples
    ]
    return [
        part.paragraph("Validation images, none of them seen in training.", muted=True),
        part.legend(run.trained.classes, palette),
        part.image_grid(head, rows),
    ]


def _class_table(run: SegmentationRun, palette: list[tuple[int, int, int]]) -> list[str]:
    def row(name: object, untrained: float, trained: float, exported: float) -> list[object]:
        return [
            name,
            _percent(untrained),
            _percent(trained),
            _percent(exported),
            part.bar(trained / 100, mark=untrained / 100),
        ]

    rows = [
        row(part.swatch(palette[index], name), *values)
        for index, (name, *values) in enumerate(
            zip(
                run.trained.classes,
                run.untrained.ious,
                run.trained.ious,
                run.exported.ious,
                strict=True,
            )
        )
    ]
    rows.append(row("mean", run.untrained.mean, run.trained.mean, run.exported.mean))
    head = ("class", "untrained", "trained, torch", "trained, onnxruntime", "")
    note = (
        f"Intersection over union in percent on {run.num_images} validation images; "
        f"{run.trained.pixel_accuracy:.1f} % of all pixels are right. In the bars: blue is the "
        "trained network, the orange mark the untrained one."
    )
    return [
        part.paragraph(note, muted=True),
        part.table(head, rows, numbers=(1, 2, 3), total=True),
    ]


def _percent(value: float) -> str:
    return f"{value:.1f}" if value == value else "absent"


def _curves(run: SegmentationRun) -> list[str]:
    training, validation = read_scalars(run.scalars)
    loss = training.get("loss", [])
    window = max(len(loss) // 12, 1)
    lines = [Line(loss, "loss", faint=window > 1, dots=len(loss) < 10)]
    if window > 1:
        lines.append(Line(smoothed(loss, window), f"mean of {window} values"))
    loss_chart = line_chart(lines, x_label="iteration", y_label="loss")
    miou = validation.get("mIoU", [])
    last = max([x for x, _ in (*loss, *miou)], default=1)
    level = [(0, run.untrained.mean), (last, run.untrained.mean)]
    miou_chart = line_chart(
        [
            Line(miou, "mIoU", colour="#15803d", dots=True),
            Line(level, "untrained", colour="#f59e0b", dashed=True),
        ],
        x_label="iteration",
        y_label="validation mIoU, %",
    )
    return [part.columns([loss_chart], [miou_chart])]


def _parity(run: SegmentationRun) -> list[str]:
    parity = run.parity
    rows = []
    for row in parity["rows"]:
        near = row["relative"] is None or row["relative"] <= parity["tolerance"]
        passes = near and row["agreement"] >= parity["min_agreement"]
        rows.append(
            [
                row["name"],
                size(row["batch"], 3, row["height"], row["width"]),
                row["images"],
                "-" if row["max_difference"] is None else f"{row['max_difference']:.1e}",
                "-" if row["relative"] is None else f"{row['relative']:.1e}",
                f"{100 * row['agreement']:.4f} %",
                part.Html(
                    '<span class="ok">ok</span>' if passes else '<span class="bad">fails</span>'
                ),
            ]
        )
    intro = (
        f"The file holds standard ONNX operators only ({count(run.file_bytes)}B). torch and "
        f"{parity['runtime']} ran on the same images. Limits: logits within "
        f"{parity['tolerance']:g} of the largest logit, the same class for "
        f"{100 * parity['min_agreement']:g} % of the pixels."
    )
    head = ("size", "input", "images", "largest |difference|", "relative", "same class", "")
    return [
        part.paragraph(intro, muted=True),
        part.table(head, rows, numbers=(2, 3, 4, 5)),
        *(part.paragraph(note) for note in parity["notes"]),
    ]


def _steps(run: SegmentationRun) -> list[str]:
    entries = [(step.title, duration(step.seconds), step.command) for step in run.steps]
    return [
        part.paragraph("Each command can be typed as it stands, from the repository.", muted=True),
        part.steps(entries),
    ]


def _environment(run: SegmentationRun) -> list[str]:
    model = {
        "parameters": f"{run.parameters:,}",
        "forward pass": f"{run.flops / 1e9:.3f} GFLOPs (2 per multiply-add)",
        "measured at": size(*run.input_shape),
        "exported file": f"{count(run.file_bytes)}B",
    }
    tables = dict(run.environment)
    versions = tables.pop("versions", {})
    return [
        part.columns(
            [part.heading("model"), part.facts(model)]
            + [
                element
                for name, values in tables.items()
                for element in (part.heading(name), part.facts(values))
            ],
            [part.heading("versions"), part.facts(versions)],
        )
    ]
