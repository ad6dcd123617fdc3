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
from .statistics import Difference, ImageDraws, Interval, difference, median_difference, std
from .train_variant import RESULT
from .variants import BASE

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
        cost: Entry of ``costs.json``; None if nothing was measured.
        failures: Reason why a seed has no result, by seed.
        beside: Values and difference of the metrics that are shown beside, by their names.
    """

    label: str
    cost: dict[str, Any] | None
    failures: dict[int, str]
    beside: dict[str, Measured] = field(default_factory=dict)

    @property
    def latency(self) -> tuple[float, float]:
        """Lowest and median seconds of a forward pass."""
        return min(self.cost["latency"]), median(self.cost["latency"])

    def latency_difference(self, base: Row) -> tuple[float, Interval]:
        """Compute by how many seconds this variant is slower than ``base``, and the interval."""
        return median_difference(self.cost["latency"], base.cost["latency"])


@dataclass
class ComparisonResults:
    """Everything that a report says.

    Attributes:
        comparison: The comparison.
        metric: Name of the metric that is compared.
        rows: Results of each variant that has any; the base is the first.
        runs: Content of each ``result.json``, by label and seed.
        costs: Content of ``costs.json``; without that file, costs of no variant.
        machine: Machine and versions, by name.
    """

    comparison: Comparison
    metric: str
    rows: list[Row]
    runs: dict[tuple[str, int], dict[str, Any]]
    costs: dict[str, Any]
    machine: dict[str, str]

    @property
    def base(self) -> Row:
        """Row of the network without a block."""
        return self.rows[0]

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
    runs: dict[tuple[str, int], dict[str, Any]] = {}
    for variant in comparison.variants:
        for seed in range(comparison.seeds):
            file = comparison.run_dir(variant, seed) / RESULT
            if file.is_file():
                runs[variant.label, seed] = read_json(file)
    first = next((r for (label, _), r in runs.items() if label == BASE and "metrics" in r), None)
    if first is None:
        raise ConfigError(f"{comparison.work_dir}: no run of {BASE!r} is finished yet.")
    metric = choose_metric(comparison, first["metrics"])
    if "mAP" in metric and first["metrics"][metric] == -1:
        raise ConfigError(
            f"{comparison.config}: the validation images hold no object that {metric} counts, so "
            "it is -1. Choose another --metric."
        )
    for result in runs.values():
        if metric not in result.get("metrics", {metric}):
            result["failure"] = f"the evaluation returned no {metric}"
    file = comparison.work_dir / COSTS
    costs = read_json(file) if file.is_file() else {"costs": {}}
    beside = metrics_beside(first["metrics"], metric, task_of(comparison.cfg))
    measured = {name: _measure(comparison, name, runs) for name in (metric, *beside)}
    rows = []
    for variant in comparison.variants:
        label = variant.label
        failures = {
            s: r["failure"] for (of, s), r in runs.items() if of == label and "failure" in r
        }
        own = measured[metric].get(label, Measured({}, None))
        if own.values or failures:
            others = {name: measured[name][label] for name in beside if label in measured[name]}
            cost = costs["costs"].get(label)
            rows.append(Row(own.values, own.vs_base, label, cost, failures, others))
    machine = costs.get("machine") or machine_and_versions()
    return ComparisonResults(comparison, metric, rows, runs, costs, machine)


def _measure(
    comparison: Comparison, metric: str, runs: Mapping[tuple[str, int], Mapping[str, Any]]
) -> dict[str, Measured]:
    """Compute a metric of all runs that have it, and each variant's difference to the base.

    Raises:
        ConfigError: Two runs were validated on unlike images.
    """
    values: dict[str, dict[int, float]] = {}
    drawn: dict[str, dict[int, np.ndarray]] = {}
    draws: ImageDraws | None = None
    images: tuple[Any, ...] = ()
    for (label, seed), result in runs.items():
        if "failure" in result or metric not in result["metrics"]:
            continue
        values.setdefault(label, {})[seed] = result["metrics"][metric]
        variant = next(v for v in comparison.variants if v.label == label)
        folder = comparison.run_dir(variant, seed)
        counts = load_counts(folder, result, metric)
        if counts is None:
            continue
        if draws is None:
            images, draws = counts.images, ImageDraws(len(counts.images))
        if counts.images != images:
            raise ConfigError(
                f"{folder}: validated on other images than the runs before it, so they can't be "
                "compared. Delete that folder, and start the same command again."
            )
        # The value in the result is rounded.
        values[label][seed] = counts.value(metric)
        drawn.setdefault(label, {})[seed] = drawn_values(counts, metric, draws.times, folder)
    base, base_drawn = values.get(BASE, {}), drawn.get(BASE, {})
    return {
        label: Measured(
            own,
            None if label == BASE else _vs_base(own, base, drawn.get(label, {}), base_drawn, draws),
        )
        for label, own in values.items()
    }


def _vs_base(
    values: Mapping[int, float],
    base_values: Mapping[int, float],
    drawn: Mapping[int, np.ndarray],
    base_drawn: Mapping[int, np.ndarray],
    draws: ImageDraws | None,
) -> Difference | None:
    """Compare the seeds that both have; with draws of images, if all of these have them."""
    seeds = [seed for seed in values if seed in base_values]
    if not seeds:
        return None
    pairs = [values[seed] for seed in seeds], [base_values[seed] for seed in seeds]
    if draws is None or not all(seed in drawn and seed in base_drawn for seed in seeds):
        return difference(*pairs)
    return difference(
        *pairs,
        np.stack([drawn[seed] for seed in seeds]),
        np.stack([base_drawn[seed] for seed in seeds]),
        draws.shares(len(seeds)),
    )
