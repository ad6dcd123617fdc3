"""One training of those that are put side by side: its metrics, its settings, and what differs.

Runs are grouped by the name of their config; that the configs of a group also have the same
content, except for the seed, is checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError
from mmattn.reports.curves import Curve, read_scalars, total_minutes
from mmattn.reports.runs.left import Left, read_training

# Settings that do not bear on the result: the seed, which is shown, and where a run lies.
_ELSEWHERE = ("randomness", "work_dir", "resume", "visualizer", "log_level", "experiment_name")


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        folder: Work dir of the run.
        network: Name of its config.
        seed: Random seed; None if the config leaves it to chance.
        metrics: Name -> [(step, value), ...] over validations.
        settings: Config of the run, as a dict.
        minutes: Wall time of all its starts by their logs; None where one has no log.
        left: All that its newest training left.
    """

    folder: Path
    network: str
    seed: int | None
    metrics: Mapping[str, Curve]
    settings: Mapping[str, Any]
    minutes: float | None
    left: Left | None = None


def read_run(folder: str | Path) -> Run:
    """Read a run's work dir, with all the starts it had.

    Raises:
        ConfigError: There is no run in ``folder``, or it was never validated.
    """
    from mmengine.config import Config

    folder = Path(folder)
    starts = sorted(folder.glob("*/vis_data/scalars.json"))
    configs = sorted(folder.glob("*.py"), key=lambda path: path.stat().st_mtime)
    if not starts or not configs:
        raise ConfigError(
            f"{folder}: no run here. Expected a work dir of mmattn train, which holds the config "
            "(NAME.py) and a folder with vis_data/scalars.json for each start."
        )
    metrics = read_scalars(starts)[1]
    if not metrics:
        raise ConfigError(f"{folder}: this run has not been validated yet, so it has no metric.")
    cfg = Config.fromfile(str(configs[-1])).to_dict()
    seed = (cfg.get("randomness") or {}).get("seed")
    minutes = total_minutes(start.parent for start in starts)
    return Run(folder, configs[-1].stem, seed, metrics, cfg, minutes, read_training(folder))


def by_network(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by their config, in order of seed.

    Runs whose configs have one name and differ in more than the seed are no seeds of one
    experiment: the name of each one's folder is added.
    """
    named: dict[str, list[Run]] = {}
    for run in runs:
        named.setdefault(run.network, []).append(run)
    groups: dict[str, list[Run]] = {}
    for network, alike in named.items():
        if not differences(alike):
            groups[network] = sorted(alike, key=lambda run: (run.seed is None, run.seed or 0))
            continue
        for run in alike:
            name = f"{network} ({run.folder.name})"
            groups[str(run.folder) if name in groups else name] = [run]
    return groups


def differences(runs: Sequence[Run], but: Sequence[str] = ()) -> list[str]:
    """List dotted settings that are not equal in all runs, except the seed and where a run lies.

    Variables of a config, which only the config itself reads, are not settings.

    Args:
        runs: Runs, at least one.
        but: Names of further top-level settings to leave out.
    """
    from mmattn.config.read_keys import READ_KEYS

    compared = READ_KEYS.difference(_ELSEWHERE, but)
    return list(_differing(runs, compared))


#: Stands for a setting that a run does not have.
MISSING = "-"


def setting_values(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the settings that are not equal in all runs, the model's too: key -> values.

    Args:
        runs: Runs, at least one.

    Returns:
        A value for each run, ``MISSING`` where it has none; seeds are among them.
    """
    from mmattn.config.read_keys import READ_KEYS

    return _differing(runs, READ_KEYS.difference(_ELSEWHERE) | {"randomness"})


def _differing(runs: Sequence[Run], compared: Collection[str]) -> dict[str, list[Any]]:
    flat = [
        dict(_flat({key: run.settings[key] for key in run.settings if key in compared}))
        for run in runs
    ]
    keys = {key: None for settings in flat for key in settings}
    values = {key: [settings.get(key, MISSING) for settings in flat] for key in keys}
    return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value
