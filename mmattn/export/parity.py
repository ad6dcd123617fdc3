"""Compare an exported file with its model in torch, on real images and at several sizes.

Two numbers decide, computed by the task's ``ParityMeasure``:

(1) The largest difference of the raw outputs, logits, relative to the largest logit, since rounding
grows with the numbers: float32 keeps 1.2e-7 of a value, and some fifty layers that sum thousands of
products in another order make that 1e-6 to 1e-5 on mmseg's common models (the slow test in
tests/export prints them). A real fault, such as another alignment in a resize, a lost normalisation
or frozen pooling bins, changes the leading digits. 1e-4 lies between.

(2) The share of equal results, for semantic segmentation of pixels with the same class. It shows
what the difference means in use; near ties keep it from being 1.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import nn

from mmattn.errors import ExportError
from mmattn.io import atomic_write

from .checked_files import parity_path, refuse_failed
from .detection_accuracy import AccuracyPair
from .int8 import Int8Report
from .metadata import ExportMetadata
from .session import Session, open_session
from .tasks import find_task
from .tasks.task import ExportTask, ParityMeasure

TOLERANCE = 1e-4
MIN_AGREEMENT = 0.999


@dataclass(frozen=True)
class ParityRow:
    """Torch against the file at one size.

    Attributes:
        name: What is special about the size.
        batch, height, width: Input of the network.
        images: Number of images that were run.
        max_difference: Largest |torch - file| over all raw outputs (logits); None for a file that
            returns decisions alone (classes).
        max_logit: Largest |torch|.
        relative: ``max_difference / max_logit``.
        agreement: Share of equal results, by the task's measure.
        undecided: Share of those that count as equal since rounding alone decides them.
        results: Number of results that were compared, of both programs; None where every pixel or
            value is one.
    """

    name: str
    batch: int
    height: int
    width: int
    images: int
    max_difference: float | None
    max_logit: float
    relative: float | None
    agreement: float
    undecided: float = 0.0
    results: int | None = None

    def passes(self, tolerance: float, min_agreement: float) -> bool:
        # Written so that NaN fails.
        near = self.relative is None or self.relative <= tolerance
        return near and self.agreement >= min_agreement


@dataclass(frozen=True)
class ParityReport:
    """Report on one file: all sizes, the limits, and whether the file keeps them.

    Attributes:
        file: Path of the file.
        runtime: Name and version of the runtime.
        tolerance, min_agreement: Limits of ``relative`` and ``agreement``.
        dynamic: Whether the file takes any size.
        notes: Remarks for the reader.
        rows: One row per size.
        agreement_title: What ``agreement`` counts.
        converted: The reports of files converted from this one, at the same sizes and limits.
        accuracy: AP in torch and in the file, where annotations were given.
        int8: The file quantised from this one, and what that costs.
        command: Command line of the export; "" where it was not one.
    """

    file: str
    runtime: str
    tolerance: float
    min_agreement: float
    dynamic: bool
    notes: list[str] = field(default_factory=list)
    rows: list[ParityRow] = field(default_factory=list)
    converted: list[ParityReport] = field(default_factory=list)
    agreement_title: str = "same class"
    accuracy: AccuracyPair | None = None
    int8: Int8Report | None = None
    command: str = ""

    @property
    def files(self) -> list[ParityReport]:
        """The report itself and those of the files converted from this one."""
        return [self, *self.converted]

    @property
    def passed(self) -> bool:
        accurate = all(r.accuracy is None or r.accuracy.passed for r in self.files)
        return bool(self.rows) and accurate and not any(r.failures for r in self.files)

    @property
    def failures(self) -> list[ParityRow]:
        return [row for row in self.rows if not row.passes(self.tolerance, self.min_agreement)]

    def table(self) -> str:
        """Return the report on this one file as text, one line per size."""
        head = ("size", "input", "images", "max |diff|", "relative", self.agreement_title, "")
        lines = [head]
        for row in self.rows:
            ok = row.passes(self.tolerance, self.min_agreement)
            lines.append(
                (
                    row.name,
                    f"{row.batch} x 3 x {row.height} x {row.width}",
                    str(row.images),
                    "-" if row.max_difference is None else f"{row.max_difference:.2e}",
                    "-" if row.relative is None else f"{row.relative:.2e}",
                    f"{100 * row.agreement:.4f} %",
                    "ok" if ok else "FAILS",
                )
            )
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
        text.insert(1, "  ".join("-" * width for width in widths))
        limits = (
            f"limits: relative <= {self.tolerance:g}, "
            f"{self.agreement_title} >= {self.min_agreement:.2%}"
        )
        more = [part.describe() for part in (self.accuracy, self.int8) if part]
        if self.rows and all(row.results == 0 for row in self.rows):
            more.append(
                "nothing to compare: no detection in any image. Give --images with the detector's "
                "objects, a checkpoint that was trained longer, or a lower threshold: "
                "model.test_cfg.score_thr=0.01"
            )
        undecided = max((row.undecided for row in self.rows), default=0.0)
        if undecided > 1 - self.min_agreement:
            more.append(
                f"up to {undecided:.1%} of the detections hang on rounding: overlapping boxes with "
                "equal scores, either of which NMS may keep. Few after a training"
            )
        return "\n".join([line.rstrip() for line in text] + [limits, *more, *self.notes])

    def to_json(self) -> str:
        """Return the report as JSON; a number that is not finite becomes null."""
        return json.dumps(self._as_dict(), indent=2, allow_nan=False) + "\n"

    def _as_dict(self) -> dict:
        data = {**asdict(self), "passed": self.passed}
        for row in data["rows"]:
            for key, value in row.items():
                if isinstance(value, float) and not math.isfinite(value):
                    row[key] = None
        data["converted"] = [report._as_dict() for report in self.converted]
        return data


def check_parity(
    model: nn.Module,
    path: str | Path,
    images: Sequence[np.ndarray],
    *,
    tolerance: float = TOLERANCE,
    min_agreement: float = MIN_AGREEMENT,
    json_path: str | Path | None = None,
    converted: Sequence[str | Path] = (),
    sizes: Sequence[tuple[int, int]] = (),
    command: str = "",
    log: Callable[[str], None] = lambda text: None,
) -> ParityReport:
    """Run ``model`` and the file exported from it on ``images`` and compare.

    The model's side is its own: data preprocessor, network, resize to the input. A file with free
    sizes is run at the traced, a smaller, a larger and an odd size and with a batch of two; any
    other at its one size.

    Args:
        model: The model that was exported, in eval mode.
        path: The exported file.
        images: (H, W, 3) uint8 RGB each; they are resized to the sizes that are tried.
        tolerance: Largest difference of the raw outputs allowed, relative to the largest output.
        min_agreement: Smallest share of equal results allowed, by the task's measure.
        json_path: Path of the report as JSON; it is written also when the check fails.
        converted: Files converted from that file, such as OpenVINO's; they have to pass the same
            check.
        sizes: (height, width) to try besides those above.
        command: Command line of the export, for the report.
        log: Function that is called with a line before each size.

    Returns:
        The report of a file that passes.

    Raises:
        ExportError: A size is beyond the limits, with the table in the message; or the file does
            not take one of ``sizes``.
    """
    if not len(images):
        raise ExportError("the parity check needs at least one image")
    sessions = [open_session(file) for file in (path, *converted)]
    meta = sessions[0].metadata
    task = find_task(meta.task, str(path))
    _require_sizes(sizes, meta)
    notes = []
    if not meta.dynamic:
        notes.append("The file has one size, so only that was checked; --dynamic frees the sizes.")
    if meta.test_mode == "slide":
        notes.append("The config tests by sliding windows; the file computes one whole image.")
    tried = sizes_to_try(
        (meta.shape[0], meta.shape[1]), dynamic=meta.dynamic, divisor=meta.size_divisor
    )
    tried += [("asked for", 1, (height, width)) for height, width in sizes]
    by_size = []
    for name, batch, size in tried:
        log(f"checking against torch at {size[0]} x {size[1]}, {name}, {len(images)} images …")
        by_size.append(_compare(task, model, sessions, images, name, batch, size))
    report, *others = (
        ParityReport(
            file=str(session.path),
            runtime=session.runtime,
            tolerance=tolerance,
            min_agreement=min_agreement,
            dynamic=meta.dynamic,
            notes=notes,
            rows=list(rows),
            agreement_title=task.measure(session.metadata).agreement_title,
            command=command,
        )
        for session, rows in zip(sessions, zip(*by_size, strict=True), strict=True)
    )
    report.converted.extend(others)
    if json_path is not None:
        with atomic_write(json_path) as file:
            file.write(report.to_json().encode())
    if not report.passed:
        raise ExportError(
            "\n".join(
                f"{part.file} does not compute what the model computes, says {part.runtime}:\n"
                f"{part.table()}"
                for part in report.files
                if part.failures
            )
        )
    return report


def add_accuracy(
    report: ParityReport,
    pairs: Sequence[AccuracyPair],
    json_path: str | Path | None = None,
) -> ParityReport:
    """Return a report with the accuracy of each of its files.

    Args:
        report: Report that ``check_parity`` returned.
        pairs: Accuracy of ``report.files``, in their order.
        json_path: Path of the report as JSON; it is written also when the check fails.

    Raises:
        ExportError: The accuracy of a file differs from torch's by more than the limit.
    """
    own, *others = pairs
    converted = [
        replace(part, accuracy=pair) for part, pair in zip(report.converted, others, strict=True)
    ]
    report = replace(report, accuracy=own, converted=converted)
    if json_path is not None:
        with atomic_write(json_path) as file:
            file.write(report.to_json().encode())
    for part in report.files:
        if part.accuracy and not part.accuracy.passed:
            raise ExportError(f"{part.file}, run by {part.runtime}: {part.accuracy.describe()}")
    return report


def read_parity(exported_file: str | Path) -> dict[str, Any]:
    """Read what the report that an export writes beside its files says of one of them.

    Args:
        exported_file: The exported file: ``.onnx``, the ``.xml`` converted from it, or the
            ``.int8.onnx`` quantised from it, which is in the report of the file before.

    Returns:
        The fields of ``ParityReport``.

    Raises:
        ExportError: There is no such report, it cannot be read, or it is on another file.
    """
    refuse_failed(exported_file)
    path = parity_path(exported_file)
    if not Path(exported_file).is_file():
        raise ExportError(f"There is no exported file {exported_file}.")
    if not path.is_file():
        raise ExportError(
            f"{path} is not there: the report of the check that `mmattn export` writes beside "
            f"its file. Export the checkpoint again, with --out {exported_file}."
        )
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        report, reason = None, f": {error}"
    else:
        reason = ""
    if not isinstance(report, dict) or not report.get("rows"):
        raise ExportError(
            f"{path} is not a report that `mmattn export` wrote{reason}. Export the checkpoint "
            f"again, with --out {exported_file}."
        )
    parts = [report, *report.get("converted", ())]
    name = Path(exported_file).name
    own = [part for part in parts if Path(part.get("file", "")).name == name]
    quantized = Path((report.get("int8") or {}).get("file", "")).name == name
    if not own and not quantized:
        about = ", ".join(Path(part.get("file", "?")).name for part in parts)
        raise ExportError(
            f"{path} is about {about}, not about {name}. Export the checkpoint again, with --out "
            f"{exported_file}."
        )
    return own[0] if own else report


def _require_sizes(sizes: Sequence[tuple[int, int]], meta: ExportMetadata) -> None:
    divisor = meta.size_divisor
    for height, width in sizes:
        if not meta.dynamic:
            raise ExportError(
                f"size {height} x {width} cannot be checked: the file has one size, "
                f"{meta.shape[0]} x {meta.shape[1]}; export it with --dynamic"
            )
        if min(height, width) < 1 or height % divisor or width % divisor:
            raise ExportError(
                f"size {height} x {width} cannot be checked: this network takes multiples of "
                f"{divisor}"
            )


def sizes_to_try(
    shape: tuple[int, int], *, dynamic: bool, divisor: int = 1
) -> list[tuple[str, int, tuple[int, int]]]:
    """Return (name, batch, (height, width)) of each row of the report.

    "Odd" is an odd multiple of ``divisor``, so an odd number where the network takes any size.
    """
    if not dynamic:
        return [("traced", 1, shape)]

    def near(side: int, factor: float, odd: bool = False) -> int:
        multiple = max(round(side * factor / divisor), 1)
        return (multiple | 1 if odd else multiple) * divisor

    height, width = shape
    odd = "odd" if divisor == 1 else f"odd x {divisor}"
    return [
        ("traced", 1, shape),
        ("smaller", 1, (near(height, 0.75), near(width, 0.75))),
        ("larger", 1, (near(height, 1.25), near(width, 1.25))),
        (odd, 1, (near(height, 0.9, odd=True), near(width, 1.1, odd=True))),
        ("batch of two", 2, shape),
    ]


def _compare(
    task: ExportTask,
    model: nn.Module,
    sessions: Sequence[Session],
    images: Sequence[np.ndarray],
    name: str,
    batch: int,
    size: tuple[int, int],
) -> list[ParityRow]:
    """Compare torch, run once, with each of ``sessions`` at one size."""
    resized = [cv2.resize(image, size[::-1]) for image in images]
    # A last batch that is too short is filled with the first images.
    batches = [
        np.stack([resized[(start + i) % len(resized)] for i in range(batch)])
        for start in range(0, len(resized), batch)
    ]
    measures: list[ParityMeasure] = [task.measure(session.metadata) for session in sessions]
    for inputs in batches:
        expected = task.run_torch(model, inputs)
        planes = np.ascontiguousarray(inputs.transpose(0, 3, 1, 2), dtype=np.float32)
        for session, measure in zip(sessions, measures, strict=True):
            try:
                measure.add(session(planes), expected)
            except ValueError as error:
                raise ExportError(f"{session.path}: {error}") from error
    return [
        ParityRow(
            name=name,
            batch=batch,
            height=size[0],
            width=size[1],
            images=len(images),
            max_difference=measure.max_difference,
            max_logit=measure.largest,
            relative=measure.relative,
            agreement=measure.agreement,
            undecided=measure.undecided,
            results=measure.results,
        )
        for measure in measures
    ]
