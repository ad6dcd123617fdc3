"""Results of a comparison, read from its folder: one row for each variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.errors import ConfigError
from mmattn.tasks import task_of

from .files import read_json
from .image_counts import drawn_values, load_counts
from .metric import metrics_beside
from .plan import choose_metric
from .provenance import machine_and_versions
from .statistics import (
    Difference,
    Interval,
    Verdict,
    decide,
    difference,
    draw_images,
    median_difference,
    std,
)
from .train_variant import RESULT
from .variants import BASE, Variant

if TYPE_CHECKING:
    from .plan import Comparison

#: File of a comparison's folder that holds what each variant costs.
COSTS = "costs.json"


@dataclass
class Measured:
    """One metric of one variant.

    Attributes:
        values: Value of the metric, by seed.
        vs_base: Difference to the base; None for the base, or where no seed is common.
    """

    values: dict[int, float]
    vs_base: Difference | None

    @property
    def mean(self) -> float:
        """Mean of the metric over seeds."""
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds; None for fewer than two."""
        return std(list(self.values.values()))


@dataclass
class Row(Measured):
    """Results of one variant: the metric that is compared, and what belongs to it.

    Attributes:
        label: Name of the variant, as on the command line.
        is_control: Whether it is there to judge the others by.
        cost: Entry of ``costs.json``; None if nothing was measured.
        failures: Reason why a seed has no result, by seed.
        beside: Values and difference of the metrics that are shown beside, by their names.
        verdict: What follows from ``vs_base``, after the correction for all rows with a block; None
            where that is None.
        wider: Label of the wider host that it is compared with; None if there is none.
        vs_wider: Difference to that host.
        wider_verdict: What follows from ``vs_wider``, after the correction for all of these.
        equal_time: The metric after as much time as the base had; None if it was not measured.
        equal_time_failures: Reason why a seed has no result after that time, by seed.
        ratio: Seconds of a training step over those of the base's; None if it was not measured.
    """

    label: str
    is_control: bool
    cost: dict[str, Any] | None
    failures: dict[int, str]
    beside: dict[str, Measured] = field(default_factory=dict)
    verdict: Verdict | None = None
    wider: str | None = None
    vs_wider: Difference | None = None
    wider_verdict: Verdict | None = None
    equal_time: Measured | None = None
    equal_time_failures: dict[int, str] = field(default_factory=dict)
    ratio: float | None = None

    @property
    def latency(self) -> tuple[float, float]:
        """Lowest and median seconds of a forward pass."""
        return min(self.cost["latency"]), median(self.cost["latency"])

    def latency_difference(self, base: Row, of: str = "latency") -> tuple[float, Interval]:
        """Compute by how many seconds this variant is slower than ``base``, and the interval.

        Args:
            base: Row of the network without a block.
            of: ``latency`` in torch, or ``exported`` for the exported file.
        """
        return median_difference(self.cost[of], base.cost[of])


@dataclass
class ComparisonResults:
    """Everything that a report says.

    Attributes:
        comparison: The comparison.
        metric: Name of the metric that is compared.
        rows: Results of each variant that has any; the base is the first, controls are the last.
        runs: Content of each ``result.json``, by label and seed.
        shorter: The same of the runs in equal time.
        costs: Content of ``costs.json``; without that file, costs of no variant.
        machine: Machine and versions, by name.
    """

    comparison: Comparison
    metric: str
    rows: list[Row]
    runs: dict[tuple[str, int], dict[str, Any]]
    costs: dict[str, Any]
    machine: dict[str, str]
    shorter: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)

    @property
    def base(self) -> Row:
        """Row of the network without a block."""
        return self.rows[0]

    @property
    def blocks(self) -> list[Row]:
        """Rows of blocks that could be compared with the base."""
        return [row for row in self.rows if row.verdict is not None and not row.is_control]

    @property
    def controls(self) -> list[Row]:
        """Rows of the controls that could be compared with the base."""
        return [row for row in self.rows if row.verdict is not None and row.is_control]

    @property
    def beside(self) -> list[str]:
        """Names of the metrics that are shown beside."""
        return list(dict.fromkeys(name for row in self.rows for name in row.beside))

    @property
    def digits(self) -> int:
        """Digits behind the point: 2 of a metric in percent, 4 of one that is a fraction."""
        return 4 if all(abs(v) <= 1 for row in self.rows for v in row.values.values()) else 2


def read_results(comparison: Comparison) -> ComparisonResults:
    """Read the results that are there, variant by variant.

    Raises:
        ConfigError: No run of the base is finished, or the metric asked for does not exist.
    """
    runs = _read_runs(comparison, equal_time=False)
    first = next((r for (label, _), r in runs.items() if label == BASE and "metrics" in r), None)
    if first is None:
        raise ConfigError(f"{comparison.work_dir}: no run of {BASE!r} is finished yet.")
    metric = choose_metric(comparison, first["metrics"])
    if "mAP" in metric and first["metrics"][metric] == -1:
        raise ConfigError(
            f"{comparison.config}: the validation images hold no object that {metric} counts, so "
            "it is -1. Choose another --metric."
        )
    _note_missing(runs, metric)
    file = comparison.work_dir / COSTS
    costs = read_json(file) if file.is_file() else {"costs": {}}
    beside = metrics_beside(first["metrics"], metric, task_of(comparison.cfg))
    readings = {name: _read_values(comparison, name, runs, False) for name in (metric, *beside)}
    rows = []
    for variant in sorted(comparison.variants, key=lambda entry: entry.is_control):
        label = variant.label
        failures = _failures(runs, label)
        own = readings[metric].measured(label)
        if own.values or failures:
            others = {name: readings[name].measured(label) for name in beside}
            others = {name: entry for name, entry in others.items() if entry.values}
            row = Row(
                *(own.values, own.vs_base, label, variant.is_control),
                *(costs["costs"].get(label), failures, others),
            )
            row.wider = comparison.wider_host_of(label)
            if row.wider is not None:
                row.vs_wider = readings[metric].difference(label, row.wider)
            rows.append(row)
    shorter = _read_runs(comparison, equal_time=True)
    _note_missing(shorter, metric)
    _add_equal_time(comparison, metric, readings[metric], rows, shorter)
    _conclude(rows)
    machine = costs.get("machine") or machine_and_versions()
    return ComparisonResults(comparison, metric, rows, runs, costs, machine, shorter)


def _conclude(rows: list[Row]) -> None:
    """Give each row its verdicts: blocks are corrected for their number, a control stands alone."""
    blocks = [row for row in rows if row.vs_base is not None and not row.is_control]
    for row, verdict in zip(blocks, decide([row.vs_base for row in blocks]), strict=True):
        row.verdict = verdict
    for row in rows:
        if row.is_control and row.vs_base is not None:
            row.verdict = decide([row.vs_base])[0]
    beside = [row for row in rows if row.vs_wider is not None]
    for row, verdict in zip(beside, decide([row.vs_wider for row in beside]), strict=True):
        row.wider_verdict = verdict


def _read_runs(comparison: Comparison, equal_time: bool) -> dict[tuple[str, int], dict[str, Any]]:
    """Read each ``result.json`` that is there, by label and seed."""
    runs = {}
    for variant in comparison.variants:
        if equal_time and not comparison.needs_equal_time(variant):
            continue
        for seed in range(comparison.seeds):
            file = comparison.run_dir(variant, seed, equal_time) / RESULT
            if file.is_file():
                runs[variant.label, seed] = read_json(file)
    return runs


def _note_missing(runs: Mapping[tuple[str, int], dict[str, Any]], metric: str) -> None:
    """Make failures of the runs whose evaluation did not return the metric."""
    for result in runs.values():
        if metric not in result.get("metrics", {metric}):
            result["failure"] = f"the evaluation returned no {metric}"


def _failures(runs: Mapping[tuple[str, int], dict[str, Any]], label: str) -> dict[int, str]:
    """Return why runs of a variant have no result, by seed."""
    return {s: run["failure"] for (of, s), run in runs.items() if of == label and "failure" in run}


def _add_equal_time(
    comparison: Comparison,
    metric: str,
    equal: _Readings,
    rows: list[Row],
    runs: Mapping[tuple[str, int], dict[str, Any]],
) -> None:
    """Fill in what each variant reaches in the time of the base, with its ``runs`` of that time."""
    if not comparison.match_time:
        return
    shorter = _read_values(comparison, metric, runs, True)
    # The base has its full time anyway.
    shorter.values[BASE], shorter.drawn[BASE] = equal.values[BASE], equal.drawn.get(BASE, {})
    variants = {variant.label: variant for variant in comparison.variants}
    for row in rows:
        known = comparison.equal_time.get(row.label)
        if known is None:
            continue
        row.ratio = known["ratio"]
        again = comparison.needs_equal_time(variants[row.label])
        row.equal_time_failures = _failures(runs, row.label) if again else {}
        source = shorter if again else equal
        measured = source.measured(row.label)
        row.equal_time = measured if measured.values else None


@dataclass
class _Readings:
    """One metric of all runs.

    Attributes:
        values: Value of the metric, by label and seed.
        drawn: Its values in the draws of images, where the run has counts.
    """

    values: dict[str, dict[int, float]]
    drawn: dict[str, dict[int, np.ndarray]]

    def measured(self, label: str) -> Measured:
        """Return the values of a variant, and its difference to the base."""
        vs_base = None if label == BASE else self.difference(label, BASE)
        return Measured(self.values.get(label, {}), vs_base)

    def difference(self, label: str, other: str) -> Difference | None:
        """Compare the seeds that both have; with draws of images, if all of these have them."""
        values, other_values = self.values.get(label, {}), self.values.get(other, {})
        drawn, other_drawn = self.drawn.get(label, {}), self.drawn.get(other, {})
        seeds = [seed for seed in values if seed in other_values]
        if not seeds:
            return None
        pairs = [values[seed] for seed in seeds], [other_values[seed] for seed in seeds]
        if not all(seed in drawn and seed in other_drawn for seed in seeds):
            return difference(*pairs)
        return difference(
            *pairs,
            np.stack([drawn[seed] for seed in seeds]),
            np.stack([other_drawn[seed] for seed in seeds]),
        )


def _read_values(
    comparison: Comparison,
    metric: str,
    runs: Mapping[tuple[str, int], Mapping[str, Any]],
    equal_time: bool,
) -> _Readings:
    """Compute a metric of all runs that have it.

    Raises:
        ConfigError: Two runs were validated on unlike images.
    """
    readings = _Readings({}, {})
    variants: dict[str, Variant] = {variant.label: variant for variant in comparison.variants}
    times: np.ndarray | None = None
    images: tuple[Any, ...] = ()
    for (label, seed), result in runs.items():
        if "failure" in result or metric not in result["metrics"]:
            continue
        readings.values.setdefault(label, {})[seed] = result["metrics"][metric]
        folder = comparison.run_dir(variants[label], seed, equal_time)
        counts = load_counts(folder, result, metric)
        if counts is None:
            continue
        if times is None:
            images, times = counts.images, draw_images(len(counts.images))
        if counts.images != images:
            raise ConfigError(
                f"{folder}: validated on other images than the runs before it, so they can't be "
                "compared. Delete that folder, and start the same command again."
            )
        # The value in the result is rounded.
        readings.values[label][seed] = counts.value(metric)
        drawn = drawn_values(counts, metric, times, folder)
        readings.drawn.setdefault(label, {})[seed] = drawn
    return readings
