"""What a run left in its folder: its starts, results, scalars and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmattn.reports.curves import Curve, read_scalars, was_resumed
from mmattn.reports.log_file import RunLog, read_log
from mmattn.reports.run import COMMAND_FILE

from .facts import BATCHES, FOLDER, read_facts

#: What is lower the better it is.
_LESS_IS_BETTER = ("loss", "ECE", "error")


@dataclass(frozen=True)
class Table:
    """Results per class of one evaluation.

    Attributes:
        title: What was evaluated, such as ``bbox``.
        columns: Names of the values.
        rows: Name -> its values, nan where one is undefined; the last row is of all classes.
    """

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Start:
    """One start of a run, from its own folder.

    Attributes:
        folder: Folder named by the time of the start.
        facts: What the run wrote down about itself.
        log: What its log tells.
        command: Command line as it was typed, "" where it is not known.
    """

    folder: Path
    facts: Mapping[str, Any]
    log: RunLog
    command: str

    @property
    def scalars(self) -> Path:
        """The file of scalars that mmengine writes; it may be missing."""
        return self.folder / "vis_data" / "scalars.json"

    @property
    def config(self) -> str:
        """The whole config, as mmengine dumped it; "" where it is missing."""
        file = self.folder / "vis_data" / "config.py"
        return file.read_text("utf-8") if file.is_file() else ""


def read_start(folder: Path) -> Start:
    """Read the folder of a start."""
    command = folder / COMMAND_FILE
    typed = command.read_text("utf-8").strip() if command.is_file() else ""
    return Start(folder, read_facts(folder), read_log(folder), typed)


@dataclass(frozen=True)
class Left:
    """A training, from all starts that belong to it.

    Attributes:
        folder: Folder of the run.
        starts: Its starts, the first one first.
        preferred: Metric to look at first; None for the task's usual one.
    """

    folder: Path
    starts: Sequence[Start] = field(default_factory=tuple)
    preferred: str | None = None

    @property
    def last(self) -> Start:
        """The newest start."""
        return self.starts[-1]

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts of the newest start."""
        return self.last.facts

    @cached_property
    def scalar_files(self) -> list[Path]:
        """The files of scalars that exist, oldest first."""
        return [start.scalars for start in self.starts if start.scalars.is_file()]

    @cached_property
    def curves(self) -> tuple[dict[str, Curve], dict[str, Curve]]:
        """Training curves over iterations, and validation curves."""
        return read_scalars(self.scalar_files)

    @cached_property
    def speed(self) -> dict[str, Curve]:
        """``time``, ``data_time`` and ``memory`` of the training over iterations."""
        return read_scalars(self.scalar_files, only=("time", "data_time", "memory"))[0]

    @property
    def validation_axis(self) -> str:
        """Unit of a validation step."""
        known = self.facts.get("validation_axis")
        if known:
            return known
        return "iteration" if "log_metric_by_epoch=False" in self.last.config else "epoch"

    @property
    def seconds(self) -> float | None:
        """Time of all starts by their logs; None where one has no log."""
        times = [start.log.seconds for start in self.starts]
        return sum(times) if times and None not in times else None  # type: ignore[arg-type]

    @property
    def metric(self) -> str | None:
        """Name of the metric to look at first: the task's usual one, else the first."""
        return choose_metric(list(self.curves[1]), self.preferred or self.facts.get("metric"))

    def batches(self) -> Path | None:
        """Return the sheet of training images of the newest start that kept one."""
        for start in reversed(self.starts):
            file = start.folder / FOLDER / BATCHES
            if file.is_file():
                return file
        return None

    def evaluated(self, split: str) -> Start | None:
        """Return the newest start that holds results of a split."""
        return next((s for s in reversed(self.starts) if read_tables(s.folder, split)), None)


def read_training(folder: str | Path, *, newest: Path | None = None) -> Left | None:
    """Read the newest training in a folder, with all of its starts.

    Args:
        folder: Folder of the run.
        newest: Its newest start, where the caller knows it.

    Returns:
        None where the folder holds no training.
    """
    folder = Path(folder)
    found: list[Start] = []
    for place in sorted((path for path in folder.glob("*/") if path.is_dir()), reverse=True):
        if not (place == newest or _is_training(place)):
            continue
        found.insert(0, read_start(place))
        if not was_resumed(place / "vis_data" / "config.py"):
            break
    return Left(folder, found) if found else None


def _is_training(start: Path) -> bool:
    kind = read_facts(start).get("kind")
    if kind is not None:
        return kind == "train"
    scalars = start / "vis_data" / "scalars.json"
    return scalars.is_file() and bool(read_scalars([scalars])[0])


def choose_metric(names: Sequence[str], wanted: str | None) -> str | None:
    """Return the name of a metric that is, or ends with, ``wanted``; else the first."""
    if wanted:
        for name in names:
            if name == wanted or name.rpartition("/")[2] == wanted:
                return name
    return names[0] if names else None


def best_point(name: str, curve: Curve) -> tuple[float, float]:
    """Return step and value of the best value of a metric."""
    better = min if any(word in name for word in _LESS_IS_BETTER) else max
    return better(curve, key=lambda point: point[1])


def read_tables(start: Path, split: str) -> list[Table]:
    """Read the results per class of the last evaluation of a split from ``results.csv``.

    Args:
        start: Folder of a start.
        split: ``val`` or ``test``.
    """
    file = start / "results.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("split") == split]
    if not rows:
        return []
    at = (rows[-1]["epoch"], rows[-1]["iter"])
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        if (row["epoch"], row["iter"]) == at:
            values = tables.setdefault(row["table"], {}).setdefault(row["class"], {})
            values[row["metric"]] = float(row["value"])
    return [
        Table(
            title,
            tuple(dict.fromkeys(name for values in rows.values() for name in values)),
            {name: list(values.values()) for name, values in rows.items()},
        )
        for title, rows in tables.items()
    ]


def read_json(file: Path) -> dict[str, Any]:
    """Read a file of JSON; empty where it is missing or damaged."""
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
