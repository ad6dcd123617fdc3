"""Results of a comparison, read from its folder: one row for each variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from mmattn.errors import ConfigError

from .files import read_json
from .plan import choose_metric
from .provenance import machine_and_versions
from .statistics import (
    AREA_METRICS,
    Difference,
    Interval,
    area_metric,
    difference,
    median_difference,
    std,
)
from .train_variant import AREAS, RESULT
from .variants import BASE

if TYPE_CHECKING:
    from .plan import Comparison

#: File of a comparison's folder that holds what each variant costs.
COSTS = "costs.json"


@dataclass
class Row:
    """Results of one variant.

    Attributes:
        label: Name of the variant, as on the command line.
        values: Value of the metric, by seed.
        vs_base: Difference to the base; None for the base, or where no seed is common.
        cost: Entry of ``costs.json``; None if nothing was measured.
        failures: Reason why a seed has no result, by seed.
    """

    label: str
    values: dict[int, float]
    vs_base: Difference | None
    cost: dict[str, Any] | None
    failures: dict[int, str]

    @property
    def mean(self) -> float:
        """Mean of the metric over seeds."""
        return mean(self.values.values())

    @property
    def std(self) -> float | None:
        """Standard deviation over seeds; None for fewer than two."""
        return std(list(self.values.values()))

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
    for result in runs.values():
        if metric not in result.get("metrics", {metric}):
            result["failure"] = f"the evaluation returned no {metric}"
    file = comparison.work_dir / COSTS
    costs = read_json(file) if file.is_file() else {"costs": {}}
    rows = _build_rows(comparison, metric, runs, costs["costs"])
    machine = costs.get("machine") or machine_and_versions()
    return ComparisonResults(comparison, metric, rows, runs, costs, machine)


def _build_rows(
    comparison: Comparison,
    metric: str,
    runs: Mapping[tuple[str, int], Mapping[str, Any]],
    costs: Mapping[str, Any],
) -> list[Row]:
    """Build a row for every variant that has a value or a failure."""
    rows: list[Row] = []
    base_areas: dict[int, np.ndarray] = {}
    for variant in comparison.variants:
        label = variant.label
        results = {seed: result for (name, seed), result in runs.items() if name == label}
        values: dict[int, float] = {}
        areas: dict[int, np.ndarray] = {}
        for seed, result in results.items():
            if "failure" in result:
                continue
            values[seed] = result["metrics"][metric]
            if result["areas"] and metric in AREA_METRICS:
                areas[seed] = np.load(comparison.run_dir(variant, seed) / AREAS)["areas"]
                # The value in the result is rounded.
                values[seed] = float(area_metric(areas[seed].sum(axis=0), metric))
        failures = {
            seed: result["failure"] for seed, result in results.items() if "failure" in result
        }
        vs_base = None
        if label == BASE:
            base_areas = areas
        else:
            vs_base = _vs_base(values, rows[0].values, areas, base_areas, metric)
        if values or failures:
            rows.append(Row(label, values, vs_base, costs.get(label), failures))
    return rows


def _vs_base(
    values: Mapping[int, float],
    base_values: Mapping[int, float],
    areas: Mapping[int, np.ndarray],
    base_areas: Mapping[int, np.ndarray],
    metric: str,
) -> Difference | None:
    """Compare the seeds that both have; with pixel counts, if all of these have them."""
    seeds = [seed for seed in values if seed in base_values]
    if not seeds:
        return None
    counted = all(seed in areas and seed in base_areas for seed in seeds)
    return difference(
        [values[seed] for seed in seeds],
        [base_values[seed] for seed in seeds],
        np.stack([areas[seed] for seed in seeds]) if counted else None,
        np.stack([base_areas[seed] for seed in seeds]) if counted else None,
        metric,
    )
