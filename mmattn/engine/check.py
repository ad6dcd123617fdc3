"""Check a config, its data and its model, as a training does before its first step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config import load_config
from mmattn.config.class_counts import counts_in
from mmattn.inference import build_model
from mmattn.preflight import preflight
from mmattn.preflight.auto_classes import fill_class_counts

from .console import brief_console

if TYPE_CHECKING:
    from mmattn.preflight.data import DatasetReport


def check(
    config: str | Path,
    *,
    splits: Sequence[str] = ("train", "val"),
    full: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[DatasetReport]:
    """Check a config without training.

    Args:
        config: Config: a path, or ``package::path``.
        splits: Splits whose data are checked: ``"train"``, ``"val"``, ``"test"``.
        full: Read every image and mask instead of a sample.
        cfg_options: Settings of the config to override, dotted keys.
        log: Function that is called with the table of each dataset, and at the end with the
            verdict.

    Returns:
        The report on each dataset.

    Raises:
        ConfigError: The config is wrong, or its model cannot be built.
        DataError: The data are missing, unreadable or contradict the config.
    """
    with brief_console():
        cfg = load_config(config, cfg_options)
        reports = []
        for report in preflight(cfg, splits=splits, full=full):
            log(report.table(warnings=False))  # they were logged
            reports.append(report)
        if cfg.get("model"):
            if cfg_options and "data" in cfg_options:
                filled = fill_class_counts(cfg)
                own = load_config(config, {k: v for k, v in cfg_options.items() if k != "data"})
                before = dict(counts_in(own))
                heads = ", ".join(
                    f"{path}={value}"
                    + (
                        f" (the config has {before[path]})"
                        if before.get(path, value) != value
                        else ""
                    )
                    for path, value in counts_in(filled)
                )
                log(f"Numbers of classes in the model: {heads or 'none'}.")
            build_model(cfg)
            log("Config, data and model fit.")
        else:
            log("Config and data fit; the config has no model.")
    return reports
