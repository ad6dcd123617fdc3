"""A fingerprint of the settings that decide a run's result, and its check against a folder."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.read_keys import READ_KEYS
from mmattn.errors import ConfigError

from .files import read_json

if TYPE_CHECKING:
    from mmengine.config import Config

#: File in a run's folder that says what the run was made with.
SETTINGS = "settings.json"


def fingerprint(cfg: Config) -> str:
    """Hash all settings of ``cfg`` that decide the result of a run."""
    return hashlib.sha256(read_settings(cfg).encode()).hexdigest()[:16]


def read_settings(cfg: Config) -> str:
    """Return the settings of ``cfg`` that something reads, one a line, without its variables."""
    content = cfg.to_dict()
    chosen = {key: content[key] for key in READ_KEYS & set(content)}
    return json.dumps(chosen, indent=0, sort_keys=True, default=repr)


def changed_settings(before: Config, now: Config) -> str:
    """Return the first lines in which the settings of two configs differ; empty if none does."""
    texts = [read_settings(cfg).splitlines() for cfg in (before, now)]
    lines = difflib.unified_diff(*texts, lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return ", ".join(" ".join(line.split()) for line in changed[:4]) + (
        ", …" if len(changed) > 4 else ""
    )


def has_runs(work_dir: Path) -> bool:
    """Return whether anything was trained in the folder of a comparison."""
    return any(work_dir.glob(f"runs/*/*/{SETTINGS}"))


def check_settings(work_dir: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder whose run was made with other settings.

    Raises:
        ConfigError: ``work_dir`` holds a run with other settings than ``settings``.
    """
    file = work_dir / SETTINGS
    if file.is_file() and read_json(file) != dict(settings):
        raise ConfigError(
            f"{work_dir} holds a run with other settings. Choose another --work-dir, or delete "
            "that folder to train the run again."
        )
