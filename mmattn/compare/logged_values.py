"""What runs have logged, as a page, a table or a plot; without their models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mmattn.errors import ConfigError, did_you_mean
from mmattn.reports.curves import Curve
from mmattn.reports.figure_style import legend_above, new_axes, plain_frame, save_png
from mmattn.reports.runs.facts import FACTS, FOLDER, PAGE
from mmattn.reports.runs.left import Left, read_start, read_training
from mmattn.reports.runs.test import write_test_report
from mmattn.reports.runs.training import write_training_report

from .files import write_csv

_STYLES = ("-", "--", ":", "-.")


def report_run(folder: Path, *, out: Path | None = None, metric: str | None = None) -> Path:
    """Write ``report.html`` of a run again, from what it left.

    Args:
        folder: Folder of a training, or of one test.
        out: Folder of the page; ``folder`` by default.
        metric: Metric to look at first; the task's usual one by default.

    Returns:
        The page.

    Raises:
        ConfigError: There is no run, or it has no such metric.
    """
    page = (out or folder) / PAGE
    if (folder / FOLDER / FACTS).is_file():
        start = read_start(folder)
        if start.facts.get("kind") == "test":
            return write_test_report(start, page)
    left = read_left(folder)
    if metric is not None and metric not in left.curves[1]:
        known = left.curves[1]
        raise ConfigError(
            f"--metric {metric}: {folder} has no metric {metric!r}.{did_you_mean(metric, known)} "
            f"It has {', '.join(sorted(known)) or 'none: it has not been validated'}."
        )
    return write_training_report(left, page, metric=metric)


def read_left(folder: Path) -> Left:
    """Read what the newest training in a folder left.

    Raises:
        ConfigError: There is none; folders beside it are named.
    """
    left = read_training(folder) if folder.is_dir() else None
    if left is not None:
        return left
    if not folder.exists() and folder.parent.is_dir():
        beside = [path.name for path in folder.parent.iterdir() if path.is_dir()]
        raise ConfigError(f"{folder}: there is no such folder.{did_you_mean(folder.name, beside)}")
    raise ConfigError(
        f"{folder}: no run here. Expected a work dir of mmattn train, which holds the config "
        "(NAME.py) and a folder with vis_data/scalars.json for each start."
    )


def write_logged_values(folders: Sequence[Path], file: Path) -> Path:
    """Write every logged value of the trainings as CSV: run, split, step, key, value.

    Raises:
        ConfigError: A folder holds no training.
    """
    lefts = [read_left(folder) for folder in folders]

    def rows() -> Iterator[tuple[str, str, float, str, float]]:
        for left in lefts:
            training, validation = left.curves
            for split, curves in (("train", {**training, **left.speed}), ("val", validation)):
                for key, curve in curves.items():
                    for step, value in curve:
                        yield str(left.folder), split, step, key, value

    write_csv(file, ("run", "split", "step", "key", "value"), rows())
    return file


def plot_values(folders: Sequence[Path], keys: Sequence[str], file: Path) -> Path:
    """Draw values of trainings over their steps into one PNG: a colour a key, a line style a run.

    Raises:
        ConfigError: A folder holds no training, or none has logged a key.
    """
    lefts = [read_left(folder) for folder in folders]
    curves: list[tuple[int, int, str, Curve]] = []
    logged: dict[str, None] = {}
    for run, left in enumerate(lefts):
        own = {**left.speed, **left.curves[1], **left.curves[0]}
        logged |= dict.fromkeys(own)
        for place, key in enumerate(keys):
            if key in own:
                name = key if len(lefts) == 1 else f"{left.folder.name}: {key}"
                curves.append((place, run, name, own[key]))
    for place, key in enumerate(keys):
        if not any(found == place for found, *_ in curves):
            raise ConfigError(
                f"--plot {key}: nothing was logged by that name.{did_you_mean(key, logged)} There "
                f"are {', '.join(logged)}."
            )
    axes = new_axes(8.0, 4.8, dpi=120)
    for place, run, name, curve in curves:
        axes.plot(
            *zip(*curve, strict=True),
            label=name,
            color=f"C{place % 10}",
            linestyle=_STYLES[run % len(_STYLES)],
            marker="o" if len(curve) < 30 else None,
            markersize=3,
        )
    axes.set_xlabel("step")
    legend_above(axes)
    plain_frame(axes)
    save_png(axes, file)
    return file
