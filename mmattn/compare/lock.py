"""``run.lock``: all that decides the result of a comparison, and the result; and its repetition.

The file holds the config as a text of its own, blocks, places, seeds and the lengths in iterations,
so that a repetition measures nothing anew that a moment decides; a fingerprint of the data and of
the code; versions and machine; and for each row the values and the interval that a repetition is
held against.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mmattn
from mmattn.errors import ConfigError, DataError
from mmattn.io.plain_data import parse_json, read_text

from .files import read_json
from .fingerprint import has_runs
from .results import ComparisonResults
from .statistics import t_interval

if TYPE_CHECKING:
    from mmattn.preflight.data import DatasetReport

#: Name of the file, and of the manifest of the data in a comparison's folder.
LOCK, MANIFEST = "run.lock", "data.json"
VERSION = 1
# Python files of these folders decide what is computed.
_CODE = ("mmattn", "custom_ops", "projects")
#: Fields of a comparison that a repetition takes over instead of finding them again.
PRESET = ("iterations", "widenings", "no_width", "left_out", "equal_time")


@dataclass(frozen=True)
class Deviation:
    """One row of a repetition.

    Attributes:
        label: Name of the variant.
        before: Mean difference to the base that the lock holds; for the base, mean of the metric.
        now: The same of the repetition; None if there is none.
        interval: Where ``now`` is expected: the t interval over seeds, or the value itself for a
            single seed.
    """

    label: str
    before: float
    now: float | None
    interval: tuple[float, float]

    @property
    def inside(self) -> bool:
        """Whether the repetition gives what the interval allows."""
        low, high = self.interval
        return self.now is not None and low - 1e-9 <= self.now <= high + 1e-9


def lock_content(results: ComparisonResults) -> dict[str, Any]:
    """Return the content of ``run.lock``."""
    comparison = results.comparison
    rows = []
    for row in results.rows:
        entry = row.vs_base
        rows.append(
            {
                "label": row.label,
                "values": row.values,
                "difference": None
                if entry is None
                else {"mean": entry.mean, "t_interval": entry.t_interval},
            }
        )
    return {
        "version": VERSION,
        "config_name": comparison.config,
        "config": (comparison.work_dir / "base.py").read_text(encoding="utf-8"),
        "insert": comparison.insert,
        "at": ["auto"] if comparison.grid else [str(place) for place in comparison.places],
        "seeds": comparison.seeds,
        "controls": comparison.controls,
        "match_time": comparison.match_time,
        "metric": results.metric,
        **{key: getattr(comparison, key) for key in PRESET},
        "data": data_fingerprint(comparison.work_dir),
        "code": {"commit": sorted({run["commit"] for run in results.runs.values()}),
                 "sha256": code_fingerprint()},
        "threads": sorted({run["threads"] for run in results.runs.values()}),
        "machine": results.machine,
        "rows": rows,
    }  # fmt: skip


def read_lock(path: str | Path) -> dict[str, Any]:
    """Read ``run.lock``.

    Raises:
        DataError: It is missing or cut off.
        ConfigError: It is of another version.
    """
    content = parse_json(read_text(str(path)), str(path))
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ConfigError(
            f"--replay {path}: not a {LOCK} of version {VERSION}. mmattn compare writes one beside "
            "its report."
        )
    return content


def check_against_lock(
    lock: Mapping[str, Any], work_dir: Path, machine: Mapping[str, str], log: Callable[[str], None]
) -> None:
    """Compare data, code and versions with those of a lock, before anything is trained.

    Args:
        lock: Content of the lock.
        work_dir: Folder of the repetition, with the manifest of its data.
        machine: Machine and versions of the repetition.
        log: Called with one line for each thing that is other than before.

    Raises:
        DataError: The files of a dataset are other ones.
    """
    for split, before in lock["data"].items():
        now = data_fingerprint(work_dir).get(split)
        if now is None or now["sha256"] != before["sha256"]:
            found = "none" if now is None else f"{now['files']} files, {now['sha256'][:12]}…"
            raise DataError(
                f"--replay: the data of {split} are not those of the lock ({before['files']} "
                f"files, {before['sha256'][:12]}…; here {found}), so another table is to be "
                "expected. Give the folder of the same files with --data-root."
            )
    if lock["code"]["sha256"] != code_fingerprint():
        commits = ", ".join(lock["code"]["commit"])
        log(f"The code is not that of the lock (commit {commits}).")
    for name, before in lock["machine"].items():
        if machine.get(name) != before:
            log(f"{name}: {before} in the lock, {machine.get(name, 'none')} here.")


def deviations(lock: Mapping[str, Any], report: Mapping[str, Any]) -> list[Deviation]:
    """Hold the rows of a repetition against those of a lock.

    Args:
        lock: Content of the lock.
        report: Content of the repetition's ``report.json``.
    """
    now = {row["label"]: row for row in report["variants"]}
    result = []
    for row in lock["rows"]:
        new = now.get(row["label"], {})
        if row["difference"] is None:
            values = [float(value) for value in row["values"].values()]
            if not values:
                continue
            mean = sum(values) / len(values)
            interval = t_interval(values) or (mean, mean)
            result.append(Deviation(row["label"], mean, new.get("mean"), interval))
            continue
        before = row["difference"]["mean"]
        interval = tuple(row["difference"]["t_interval"] or (before, before))
        found = (new.get("difference") or {}).get("mean")
        result.append(Deviation(row["label"], before, found, interval))
    return result


def data_fingerprint(work_dir: Path) -> dict[str, dict[str, Any]]:
    """Return number and fingerprint of the files of each dataset, from the folder's manifest.

    Of one that ``mmattn data prepare`` made, its name and part are there too, as ``prepared``.
    """
    file = work_dir / MANIFEST
    if not file.is_file():
        return {}
    manifest = read_json(file)
    prepared = manifest.get("prepared", {})
    return {
        split: {
            "files": len(files),
            "sha256": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
            **({"prepared": prepared[split]} if split in prepared else {}),
        }
        for split, files in manifest["datasets"].items()
    }


def write_data_manifest(reports: Sequence[DatasetReport], work_dir: Path) -> None:
    """Write size and SHA-256 of every file that the datasets read (``mmattn.data.manifest``).

    A folder that has runs keeps the manifest of these.

    Raises:
        DataError: The folder has runs, and the files are not those of the runs.
    """
    from mmattn.data.manifest import compare_with_manifest, write_manifest

    files = {report.where: (report.root, report.files) for report in reports}
    manifest = work_dir / MANIFEST
    if not (manifest.is_file() and has_runs(work_dir)):
        write_manifest(str(manifest), files)
        return
    try:
        compare_with_manifest(str(manifest), files)
    except DataError as error:
        raise DataError(
            f"{work_dir} holds runs on other data, which can't be compared with new ones: restore "
            f"the files, or choose another --work-dir. {error}"
        ) from error


def code_fingerprint() -> str:
    """Hash the Python and C++ files of mmattn that this process runs."""
    digest = hashlib.sha256()
    package = Path(mmattn.__file__).resolve().parent
    for folder in _CODE:
        top = package if folder == "mmattn" else (package.parent / folder)
        for path in sorted(top.rglob("*")):
            if path.suffix in (".py", ".cpp", ".h", ".cu", ".cuh") and path.is_file():
                digest.update(str(path.relative_to(top)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
