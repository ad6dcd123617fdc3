"""The folder of a run: the config and the checkpoints that a training leaves in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmattn.errors import CheckpointError, ConfigError, did_you_mean

#: Words that stand for a checkpoint of a run.
CHOICES = ("best", "last")
_WEIGHTS = (".pth", ".safetensors")
_NUMBERED = re.compile(r"(?:epoch|iter)_(\d+)$")


@dataclass(frozen=True)
class RunFiles:
    """Files that a command takes from a run's folder.

    Attributes:
        config: The config as the run had it, everything merged.
        checkpoint: File of the weights.
        told: One line that says which files these are.
    """

    config: Path
    checkpoint: Path
    told: str


def is_run(path: str | Path) -> bool:
    """Return whether a path is the folder of a run: it has a config, and a log or a checkpoint."""
    folder = Path(path)
    return folder.is_dir() and bool(_configs(folder)) and _has_begun(folder)


def find_run(folder: str | Path, choice: str = "") -> RunFiles:
    """Find the config and a checkpoint of a run.

    Args:
        folder: Folder of the run.
        choice: ``"best"``, by the metric that the run saved its best by, or ``"last"``; empty for
            the best where there is one, else the last.

    Raises:
        ConfigError: The folder is none of a run, or has several configs.
        CheckpointError: It has no such checkpoint.
    """
    folder = Path(folder)
    config = run_config(folder)
    best = sorted(_weights(folder, "best_*"), key=lambda file: file.stat().st_mtime)
    last = last_checkpoint(folder)
    if choice not in ("", *CHOICES):
        raise CheckpointError(
            f"{choice!r} is no checkpoint of {folder}: give best, last or a file."
            f"{did_you_mean(choice, CHOICES)}"
        )
    if choice != "last" and best:
        others = f"; {len(best)} files are best by something" if len(best) > 1 else ""
        more = f"; the last is {last.name}" if last else ""
        told = f"{folder}: {config.name} and {best[-1].name}, the best checkpoint{others}{more}"
        return RunFiles(config, best[-1], told)
    if choice == "best" or last is None:
        kind = "best checkpoint (best_*)" if choice == "best" else "checkpoint yet"
        others = f" It has {last.name}." if last else ""
        raise CheckpointError(f"{folder} has no {kind}.{others}")
    why = "as was asked" if choice else "the last checkpoint: there is no best one"
    return RunFiles(config, last, f"{folder}: {config.name} and {last.name}, {why}")


def run_config(folder: str | Path) -> Path:
    """Return the config that a run has left in its folder.

    Raises:
        ConfigError: There is none, or there are several.
    """
    folder = Path(folder)
    configs = _configs(folder)
    if len(configs) == 1:
        return configs[0]
    if not configs:
        raise ConfigError(f"{folder} is not the folder of a run: it has no config, NAME.py.")
    names = ", ".join(file.name for file in configs[:4])
    raise ConfigError(
        f"{folder} has {len(configs)} configs, of several runs: {names}. Give CONFIG and "
        "CHECKPOINT."
    )


def last_checkpoint(folder: Path) -> Path | None:
    """Return the file that ``last_checkpoint`` names, else the one with the highest number."""
    pointer = folder / "last_checkpoint"
    if pointer.is_file():
        # A relative name is relative to the folder; an absolute one may date from before a move.
        name = pointer.read_text(encoding="utf-8", errors="replace").strip()
        for file in (folder / name, folder / Path(name).name):
            if name and file.is_file():
                return file
    numbered = [
        (int(found[1]), file)
        for file in _weights(folder, "*")
        if (found := _NUMBERED.match(file.stem))
    ]
    return max(numbered, default=(0, None))[1]


def _configs(folder: Path) -> Sequence[Path]:
    return sorted(file for file in folder.glob("*.py") if file.is_file())


def _weights(folder: Path, pattern: str) -> list[Path]:
    return [file for file in folder.glob(pattern) if file.suffix in _WEIGHTS]


def _has_begun(folder: Path) -> bool:
    """Return whether a run has left a log or weights, which a folder of configs has not."""
    return any(folder.glob("*/vis_data")) or bool(_weights(folder, "*"))
