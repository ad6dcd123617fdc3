"""All numbers of a panoptic evaluation, put together from the results of its images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmattn.evaluation.bootstrap import bootstrap_intervals
from mmattn.evaluation.class_table import ClassTable
from mmattn.evaluation.semantic.confusion import SparseConfusion
from mmattn.evaluation.semantic.scores import all_scores, class_scores, mean_over_classes
from mmattn.evaluation.semantic.worst_images import decode_label_map
from mmattn.palette import Palette, complete_palette
from mmattn.reports.panoptic.numbers import COUNTS, DrawnMap, PanopticNumbers, WorstImage

from .image_result import ImageResult
from .quality import QUALITIES, SUMS, QualitySums, class_qualities, mean_quality
from .truth import PanopticClasses

#: Group of classes -> end of the names of its scores, as mmdet has them.
GROUPS = {"all": "", "things": "_th", "stuff": "_st"}
BOUNDARY_QUALITIES = tuple(f"b{name}" for name in QUALITIES)


def analyse(
    results: Sequence[ImageResult],
    classes: PanopticClasses,
    *,
    palette: Palette,
    worst: int,
    bootstrap: int = 0,
) -> tuple[PanopticNumbers, dict[str, float]]:
    """Compute what is reported, plotted and tabled.

    Args:
        results: Results of all images, in any order.
        classes: Classes.
        palette: RGB of the classes; missing ones are filled in.
        worst: Number of the worst images to keep.
        bootstrap: Resamples for 95 % intervals of PQ over images.

    Returns:
        The numbers, and the scores by name in percent: ``PQ``, ``PQ_th``, ``PQ_st``,
        ``boundary_PQ``, ``mIoU``, …. What is not defined, as PQ of stuff where there is none, is
        left out.
    """
    count = len(classes.names)
    ordered = sorted(results, key=lambda result: (str(type(result.image_id)), result.image_id))
    things = np.array(classes.things, bool)
    members = {"all": np.ones(count, bool), "things": things, "stuff": ~things}

    sums = QualitySums.total([result.quality for result in ordered], count)
    parts: dict[str, np.ndarray] = {
        "segments": np.sum([result.segments for result in ordered], axis=0),
        **dict(zip(("TP", "FP", "FN"), sums[1:], strict=True)),
        **dict(zip(QUALITIES, class_qualities(sums), strict=True)),
    }
    with_boundary = all(result.boundary is not None for result in ordered)
    if with_boundary:
        found = [result.boundary for result in ordered if result.boundary is not None]
        by_boundary = class_qualities(QualitySums.total(found, count))
        parts |= dict(zip(BOUNDARY_QUALITIES, by_boundary, strict=True))
    areas = _areas(SparseConfusion.sum_of([result.confusion for result in ordered]))
    semantic = class_scores(areas, ["mIoU"])
    parts |= semantic

    groups = {}
    for name, chosen in members.items():
        row = []
        for column, values in parts.items():
            if column in COUNTS:
                row.append(float(values[chosen].sum()))
            elif column in semantic:
                row.append(float(mean_over_classes(values[chosen])))
            else:
                row.append(float(mean_quality(values[None], chosen)[0]))
        groups[name] = np.array(row)
    columns = tuple(parts)
    scores = {}
    for prefix, names in (("", QUALITIES), ("boundary_", BOUNDARY_QUALITIES)):
        for group, end in GROUPS.items():
            for name in names:
                if name in columns:
                    value = 100 * groups[group][columns.index(name)]
                    scores[f"{prefix}{name.removeprefix('b')}{end}"] = value
    totals = all_scores(areas, ["mIoU"])
    scores |= {name: 100 * float(totals[name]) for name in ("mIoU", "mAcc", "aAcc")}
    intervals = _intervals(ordered, members, bootstrap) if bootstrap else {}
    for name, (low, high) in intervals.items():
        scores |= {f"{name}_low": 100 * low, f"{name}_high": 100 * high}
    numbers = PanopticNumbers(
        classes=classes.names,
        things=classes.things,
        palette=complete_palette(palette, count),
        num_images=len(ordered),
        columns=columns,
        table=np.stack([values.astype(np.float64) for values in parts.values()], axis=1),
        groups=groups,
        worst=_worst_images(ordered, worst),
        intervals=intervals,
    )
    return numbers, {name: value for name, value in scores.items() if value == value}


def class_tables(numbers: PanopticNumbers) -> tuple[ClassTable, ClassTable]:
    """Build the table per class, and the one of things and stuff; in percent."""
    images = f"{numbers.num_images} image{'' if numbers.num_images == 1 else 's'}"
    shared = {
        "columns": numbers.columns,
        "mean": _percent(numbers, numbers.groups["all"]),
        "digits": 2,
        "counts": frozenset(COUNTS),
        "summary": "all",
    }
    rows = [_percent(numbers, row) for row in numbers.table]
    per_class = ClassTable(
        title=f"panoptic quality, on {images}, in %",
        rows=dict(zip(numbers.classes, rows, strict=True)),
        absent=numbers.absent,
        note=(
            "bPQ: by boundary. IoU, Acc: of the classes of the same map. Means leave '-' out: "
            "classes that occur neither in ground truth nor in predictions."
        ),
        **shared,
    )
    groups = {name: _percent(numbers, row) for name, row in numbers.groups.items() if name != "all"}
    return per_class, ClassTable(
        title=f"panoptic quality, on {images}, in %", rows=groups, rows_are="group", **shared
    )


def _percent(numbers: PanopticNumbers, row: np.ndarray) -> list[float]:
    return [
        float(value) if name in COUNTS else 100 * float(value)
        for name, value in zip(numbers.columns, row, strict=True)
    ]


def _areas(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return hit, predicted and labelled pixels of each class, of a sum of confusion matrices."""
    return {
        "hit": np.diagonal(matrix)[:-1],
        "predicted": matrix[:, :-1].sum(0),
        "labelled": matrix[:-1].sum(1),
    }


def _intervals(
    results: Sequence[ImageResult], members: dict[str, np.ndarray], resamples: int
) -> dict[str, tuple[float, float]]:
    count = len(members["all"])
    sums = np.zeros((len(SUMS), len(results), count))
    for place, result in enumerate(results):
        sums[:, place, result.quality.labels] = result.quality.values

    def scores(drawn) -> dict[str, np.ndarray]:
        values = np.stack([drawn[name] for name in SUMS])
        per_class = np.stack(
            [class_qualities(values[:, draw])[0] for draw in range(len(values[0]))]
        )
        return {
            f"PQ{GROUPS[name]}": mean_over_classes(per_class[:, chosen])
            for name, chosen in members.items()
        }

    ends = bootstrap_intervals(dict(zip(SUMS, sums, strict=True)), scores, resamples=resamples)
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def _worst_images(results: Sequence[ImageResult], limit: int) -> tuple[WorstImage, ...]:
    kept = sorted((result for result in results if result.label_maps), key=lambda one: one.rank)
    worst = []
    for result in kept[:limit]:
        maps, drawn = result.label_maps, result.drawn
        if maps is None or drawn is None:
            continue
        truth, predicted = (decode_label_map(encoded) for encoded in maps)
        no_crowd = np.zeros(len(drawn.predicted), bool)
        worst.append(
            WorstImage(
                name=result.name,
                quality=result.quality.quality(),
                matched=int(result.quality.values[1].sum()),
                false=int(drawn.false.sum()),
                missed=int(drawn.missed.sum()),
                truth=DrawnMap(truth, drawn.truth, drawn.missed, drawn.crowd),
                predicted=DrawnMap(predicted, drawn.predicted, drawn.false, no_crowd),
            )
        )
    return tuple(worst)
