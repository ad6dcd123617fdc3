"""Settings that the folder of a comparison remembers (``comparison.json``, ``base.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.errors import ConfigError

from .files import read_json, write_json
from .fingerprint import changed_settings, has_runs

if TYPE_CHECKING:
    from .plan import Comparison

# Fields of a comparison that a later start takes over.
_KEPT = (
    *("iterations", "timing", "remarks", "data", "commands"),
    *("widenings", "no_width", "left_out", "equal_time"),
)


def restore_settings(comparison: Comparison, command: str, report_only: bool) -> None:
    """Check the settings against those of the folder, and take over what was found out before.

    Other settings are refused only if something was trained with those before.

    Args:
        comparison: The comparison, whose fields are filled.
        command: Command line to remember; empty to remember none.
        report_only: Whether the folder must hold a comparison already.

    Raises:
        ConfigError: The folder holds runs with other settings, or no comparison to report.
    """
    from mmengine.config import Config

    file, base = comparison.work_dir / "comparison.json", comparison.work_dir / "base.py"
    settings = {"at": [str(place) for place in comparison.places], "budget": comparison.budget}
    if file.is_file():
        before = read_json(file)
        differing = [
            f"{key} was {before[key]!r} and is {value!r}"
            for key, value in settings.items()
            if before[key] != value
        ]
        changes = changed_settings(Config.fromfile(base), comparison.cfg)
        if changes:
            differing.append(f"the config differs: {changes}")
        if differing and has_runs(comparison.work_dir):
            raise ConfigError(
                f"{comparison.work_dir} holds a comparison with other settings: "
                f"{'; '.join(differing)}. Its runs can't be compared with new ones: choose another "
                "--work-dir, or delete that folder."
            )
        if not differing:
            for key in _KEPT:
                setattr(comparison, key, before.get(key, getattr(comparison, key)))
    elif report_only:
        raise ConfigError(
            f"--report-only: {comparison.work_dir} holds no comparison yet. Run the same command "
            "without --report-only first."
        )
    if command:
        earlier = [known for known in comparison.commands if known != command]
        comparison.commands = [*earlier, command]
    comparison.work_dir.mkdir(parents=True, exist_ok=True)
    comparison.cfg.dump(base)
    save_settings(comparison)


def save_settings(comparison: Comparison) -> None:
    """Write ``comparison.json``."""
    content = {
        "config": comparison.config,
        "at": [str(place) for place in comparison.places],
        "budget": comparison.budget,
    }
    content |= {key: getattr(comparison, key) for key in _KEPT}
    write_json(comparison.work_dir / "comparison.json", content)
