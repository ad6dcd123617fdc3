"""Training curves as plots, drawn from the scalars that mmengine writes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .figure_style import legend_above, new_axes, plain_frame, save_png
from .log_file import read_log
from .run import COMMAND_FILE

Curve = list[tuple[float, float]]
# Values about the run rather than about the learning.
_NO_CURVE = {"time", "data_time", "memory", "epoch", "iter", "step", "eta"}

#: One for each round through matplotlib's ten colours, so that no two lines look the same.
_LINE_STYLES = ("-", "--", ":", "-.")

_OF_COCO = re.compile(r"(^|[/_])(m?AP|m?AR)([@_]|$)")


def read_scalars(
    files: Iterable[str | Path], *, only: Collection[str] = ()
) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Read one or more ``scalars.json`` as one history.

    A run that was resumed repeats steps which an earlier file already has; the later file wins
    from its first step on. A validation behind the step at which a later start goes on is of a
    branch that was given up; one at the very step of its checkpoint stays, as it isn't repeated.

    Args:
        files: Files of one run, oldest first.
        only: Names of what is read; by default all that is about the learning.

    Returns:
        Training curves over iterations and validation curves over mmengine's validation step
        (epochs or iterations): name -> [(step, value), …].
    """
    training: dict[str, Curve] = {}
    validation: dict[str, Curve] = {}
    for file in files:
        records = _records(Path(file))
        # Only training records carry a learning rate, whatever it is called.
        learns = [any(key.endswith("lr") for key in record) for record in records]
        trained = [r["step"] for r, learn in zip(records, learns, strict=True) if learn]
        if trained:
            # Epochs, where validations are counted in them, are fewer than iterations.
            for name, curve in validation.items():
                validation[name] = [point for point in curve if point[0] < min(trained)]
        for curves, of_training in ((training, True), (validation, False)):
            chosen = [r for r, learn in zip(records, learns, strict=True) if learn is of_training]
            if not chosen:
                continue
            first = min(record["step"] for record in chosen)
            for name in curves:
                curves[name] = [point for point in curves[name] if point[0] < first]
            for record in chosen:
                for name, value in record.items():
                    left_out = name not in only if only else name in _NO_CURVE
                    if left_out or _is_no_value(name, value):
                        continue
                    if isinstance(value, (int, float)):
                        curves.setdefault(name, []).append((record["step"], value))
    return training, validation


def _records(file: Path) -> list[dict[str, Any]]:
    """Read the lines of a file; the last one is left out where a killed run has cut it off."""
    text = file.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip()]
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError:
            if number < len(lines) or text.endswith("\n"):
                raise
    return records


def scalars_of_run(folder: str | Path) -> list[Path]:
    """Return the ``scalars.json`` files of the newest training in a folder, oldest first.

    A training that was resumed has one for each start. Tests leave such files too, and so do
    earlier trainings in the same folder: theirs are left out.
    """
    found: list[Path] = []
    for file in sorted(Path(folder).glob("*/vis_data/scalars.json"), reverse=True):
        if read_scalars([file])[0]:
            found.insert(0, file)
            if not was_resumed(file.with_name("config.py")):
                break
    return found


def history_of_run(folder: str | Path, cfg: Mapping) -> dict[str, Any]:
    """Return what a report shows of a training: its scalars, their axis and the time it took.

    Args:
        folder: Folder of the run.
        cfg: Config of the run.

    Returns:
        Arguments of ``reports.run.Run``.
    """
    scalars = scalars_of_run(folder)
    logger = cfg.get("default_hooks", {}).get("logger") or {}
    return {
        "scalars": scalars,
        "validation_axis": "epoch" if logger.get("log_metric_by_epoch", True) else "iteration",
        "training_minutes": total_minutes([file.parent for file in scalars]),
    }


def commands_of_run(folder: str | Path) -> list[str]:
    """Return the command lines of a training's starts, the first one first, as they were typed."""
    files = [file.parent.parent / COMMAND_FILE for file in scalars_of_run(folder)]
    return [file.read_text("utf-8").strip() for file in files if file.is_file()]


def was_resumed(config: Path) -> bool:
    """Return whether the config of a start, as mmengine dumps it, resumes."""
    if not config.is_file():
        return False
    return re.search(r"^resume\s*=\s*True\b", config.read_text("utf-8"), re.MULTILINE) is not None


def _is_no_value(name: str, value: object) -> bool:
    """Return whether a metric says that it has none: COCO's -1 where no object is of a size."""
    return value == -1 and _OF_COCO.search(name) is not None


def run_minutes(vis_data: Path) -> float | None:
    """Compute the wall time of one start, from the first line of its log to the last.

    Returns:
        None where the log is missing. Times of files would be those of a copy.
    """
    seconds = read_log(vis_data.parent).seconds
    return None if seconds is None else seconds / 60


def total_minutes(starts: Iterable[Path]) -> float | None:
    """Add up ``run_minutes`` of starts, given as their ``vis_data``; None where one is unknown."""
    minutes = [run_minutes(start) for start in starts]
    known = [value for value in minutes if value is not None]
    return sum(known) if known and len(known) == len(minutes) else None


def plot_curves(
    files: Iterable[str | Path],
    folder: str | Path,
    *,
    validation_axis: str = "epoch",
    plots: Sequence[str] = ("loss", "lr", "metrics"),
) -> list[Path]:
    """Draw ``curves_loss.png``, ``curves_lr.png`` and ``curves_metrics.png`` into ``folder``.

    Args:
        files: ``scalars.json`` files of one run, oldest first.
        folder: Folder of the plots; it is created if needed.
        validation_axis: Unit of a validation step, ``epoch`` or ``iteration``: label of the axis.
        plots: Names of the plots to draw.

    Returns:
        The files written; a plot without any value is left out.
    """
    training, validation = read_scalars(files)
    losses = {name: curve for name, curve in training.items() if "loss" in name}
    rates = {name: curve for name, curve in training.items() if name.endswith("lr")}
    parts = [name for name in losses if name != "loss"]
    if len(parts) == 1 and losses[parts[0]] == losses.get("loss"):
        del losses[parts[0]]  # the total would hide it, and the legend name a line that is not seen
    # The total last and bold: it is what the others add up to.
    losses = dict(sorted(losses.items(), key=lambda item: item[0] == "loss"))
    content = {
        "loss": ("loss", "iteration", losses),
        "lr": ("learning rate", "iteration", rates),
        "metrics": ("metric", validation_axis, validation),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw(folder / f"curves_{name}.png", *content[name])
        for name in plots
        if any(content[name][-1].values())
    ]


def smoothed(curve: Curve, window: int) -> Curve:
    """Replace each value by the mean of the last ``window`` values up to it."""
    values = [value for _, value in curve]
    means = []
    for index, (step, _) in enumerate(curve):
        recent = values[max(0, index - window + 1) : index + 1]
        means.append((step, sum(recent) / len(recent)))
    return means


def _draw(path: Path, ylabel: str, xlabel: str, curves: Mapping[str, Sequence]) -> Path:
    axes = new_axes(7.0, 4.2, dpi=110)
    for index, (name, curve) in enumerate(curves.items()):
        steps, values = zip(*curve, strict=True)
        marker = "o" if len(steps) < 30 else None
        total = name == "loss"
        axes.plot(
            steps,
            values,
            label=name,
            color="midnightblue" if total else f"C{index % 10}",
            linestyle="-" if total else _LINE_STYLES[index // 10 % len(_LINE_STYLES)],
            marker=marker,
            markersize=3,
            linewidth=2.2 if total else 1.2,
        )
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if len(curves) <= 10 * len(_LINE_STYLES):
        legend_above(axes)
    plain_frame(axes)
    save_png(axes, path)
    return path
