"""The summary of a run: tables for the screen and the page, and all numbers as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checks import as_data, summarize_checks
from .explanation import Explanation
from .figures import CHECKS
from .receptive_field import ENOUGH, SHARES, middle_of, smallest_square
from .result import Result

#: Most rows of a table of heads.
MOST_HEADS = 20


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    Attributes:
        head: Names of the columns.
        rows: Cells of each row.
        align: ``l`` or ``r`` of each column.
        title: What it is of, "" where there is only one network.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    align: str = ""
    title: str = ""

    def text(self) -> str:
        """Return it in plain text."""
        from mmattn.tables import text_table

        title = f"{self.title}\n" if self.title else ""
        return title + text_table(self.head, self.rows, align=self.align)


def summary_tables(results: Sequence[Result]) -> list[Table]:
    """Return the tables of maps and, where they were made, of checks."""
    several = len({result.network for result in results}) > 1
    rows = []
    for result in results:
        for one in result.explanations:
            shape = "-" if one.values is None else f"{one.values.shape[0]} x {one.values.shape[1]}"
            numbers = {k: v for k, v in one.numbers.items() if k not in CHECKS}
            shown = ", ".join(f"{k.replace('_', ' ')} {_short(v)}" for k, v in numbers.items())
            checked = "checked" if result.check and one.across in result.check.maps else "raw"
            name = f"{one.method}: {one.name}"
            network = [result.network] if several else []
            rows.append([result.sample.file.name, *network, name, one.place, shape, shown, checked])
    head = ["image", *(["network"] if several else []), "map", "layer", "grid", "numbers", ""]
    tables = [Table(head, rows)]
    for network in dict.fromkeys(result.network for result in results):
        of_network = [result for result in results if result.network == network]
        title = network if several else ""
        if any(result.check for result in of_network):
            tables.append(_check_table(of_network, title))
        if any(result.sanity for result in of_network):
            tables.append(_sanity_table(of_network, title))
        means = (_field_table(of_network, title), _head_table(of_network, title))
        tables += [table for table in means if table is not None]
    return tables


def _names(results: Sequence[Result]) -> list[str]:
    return list(
        dict.fromkeys(key for result in results if result.check for key in result.check.maps)
    )


def _check_rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    checks = [result.check for result in results if result.check is not None]
    return summarize_checks(checks, _names(results))


def _check_table(results: Sequence[Result], title: str) -> Table:
    rows = []
    for row in _check_rows(results):
        cells = [row["map"], row["images"]]
        for metric in ("deletion", "insertion"):
            values = row[metric]
            interval = ""
            if values["low"] is not None:
                interval = f" [{values['low']:+.3f}, {values['high']:+.3f}]"
            cells.append(f"{values['mean']:+.3f}{interval}")
        for name in ("average_drop", "average_increase", "average_gain"):
            beside = f" ({row[f'{name}_random']:.1f})" if name in row else ""
            cells.append(f"{row[name]:.1f}{beside}" if name in row else "")
        rows.append([*cells, row["verdict"]])
    head = ["map", "images", "deletion - random", "insertion - random"]
    head += [f"{what} % (random)" for what in ("drop", "increase", "gain")]
    return Table([*head, "verdict"], rows, "lrrrrrrl", title)


def _field_table(results: Sequence[Result], title: str) -> Table | None:
    """Return the areas of mean receptive fields, over the images of each size; None for one."""
    groups: dict[tuple[str, tuple[int, ...]], list[Explanation]] = {}
    for result in results:
        for one in result.explanations:
            if one.method == "receptive-field" and one.values is not None:
                groups.setdefault((one.place, one.values.shape), []).append(one)
    if not groups or len(results) < 2:
        return None
    rows = []
    for (place, shape), found in groups.items():
        first, mean = found[0], np.mean(np.stack([one.ranking for one in found]), 0)
        assert first.position is not None and first.position_grid is not None
        centre = middle_of(first.position, first.position_grid, shape)
        areas = [f"{smallest_square(mean, centre, share)[1]:.3g}" for share in SHARES]
        few = "" if len(found) >= ENOUGH else f"fewer than {ENOUGH} images"
        rows.append([place, f"{shape[0]} x {shape[1]}", len(found), *areas, few])
    shares = [f"{share:.0%} in" for share in SHARES]
    head = ["receptive field of", "input", "images", *shares, ""]
    return Table(head, rows, "llr" + "r" * len(SHARES) + "l", title)


def _head_table(results: Sequence[Result], title: str) -> Table | None:
    """Return the heads that matter most, means over the images; None for a single image."""
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for result in results:
        for one in result.explanations:
            if one.method != "heads" or one.channels is None:
                continue
            what = "taylor" if one.name == "Taylor" else "left out"
            names = [(layer, head) for layer, count in one.parts for head in range(count)]
            for name, value in zip(names, one.channels.tolist(), strict=True):
                found.setdefault(name, {"taylor": [], "left out": []})[what].append(value)
    if not found or len(results) < 2:
        return None
    rows = []
    for (layer, head), values in found.items():
        left_out = float(np.mean(values["left out"])) if values["left out"] else float("nan")
        size = float(np.mean(np.abs(values["taylor"])))
        rows.append((layer, head, len(values["taylor"]), left_out, size))
    rows.sort(key=lambda row: -row[4])
    more = f", of {len(rows)}" if len(rows) > MOST_HEADS else ""
    shown = [[*row[:3], *map(_short, row[3:])] for row in rows[:MOST_HEADS]]
    head = [f"heads that matter most{more}", "head", "images", "left out", "mean |Taylor|"]
    return Table(head, shown, "lrrrr", title)


def _sanity_table(results: Sequence[Result], title: str) -> Table:
    keys = list(dict.fromkeys(key for result in results for key in result.sanity))
    shares = next(iter(next(r.sanity for r in results if r.sanity).values())).shares
    rows = []
    for key in keys:
        found = [result.sanity[key] for result in results if key in result.sanity]
        curve = np.nanmean([[*one.spearman] for one in found], 0) if found else []
        spread = float(np.mean([one.unrelated[1] for one in found]))
        missing = sum(one.missing for one in found)
        rows.append([key, *(_short(float(v)) for v in curve), f"{spread:.2g}", missing])
    head = [
        "map: Spearman with",
        *(f"{share:.0%} random" for share in shares),
        "unrelated sd",
        "no map",
    ]
    return Table(head, rows, "l" + "r" * (len(head) - 1), title)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write_summary(path: Path, results: Sequence[Result], settings: dict[str, Any]) -> None:
    """Write all numbers of a run."""
    from mmattn.io import atomic_write

    content = {
        "settings": settings,
        "images": [_image(result) for result in results],
        "faithfulness": {
            network: _check_rows([r for r in results if r.network == network])
            for network in dict.fromkeys(result.network for result in results)
            if any(r.check for r in results if r.network == network)
        },
    }
    with atomic_write(path, "w") as file:
        json.dump(_plain(content), file, indent=2, ensure_ascii=False)


def _image(result: Result) -> dict[str, Any]:
    target = result.target
    return {
        "file": str(result.sample.file),
        "network": result.network,
        "target": {
            "kind": target.kind,
            "name": target.name,
            "y": target.formula,
            "label": target.label,
            "index": target.index,
            "score": target.score,
        },
        "maps": [
            {
                "key": one.key,
                "across": one.across,
                "method": one.method,
                "name": one.name,
                "layer": one.layer,
                "call": one.call,
                "grid": None if one.values is None else list(one.values.shape),
                "numbers": one.numbers,
                "notes": one.notes,
            }
            for one in result.explanations
        ],
        "check": None if result.check is None else as_data(result.check),
        "sanity": {key: vars(value) for key, value in result.sanity.items()},
    }


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's, what is not a number as null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
