"""The plan of a comparison: network, blocks, places, seeds and budget."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.data_overrides import set_data_root
from mmattn.config.load import load_config
from mmattn.errors import ConfigError
from mmattn.preflight.auto_classes import fill_class_counts
from mmattn.tasks import task_of

from .budget import parse_budget
from .metric import pick_metric
from .places import Place, parse_places
from .variants import Variant, parse_variants

if TYPE_CHECKING:
    from mmengine.config import Config


@dataclass
class Comparison:
    """Settings of a comparison, read and checked, and what was found out about it on the way."""

    config: str
    """Path or name of the base config, as it was given."""

    cfg: Config
    """The base config, with its options and its data root set."""

    variants: tuple[Variant, ...]
    """Variants of the network; the one without a block is the first."""

    places: tuple[Place, ...]
    """Places where blocks are inserted."""

    seeds: int
    """Number of runs of each variant; their seeds are 0, 1, …"""

    budget: str
    """Length of each run, as it was given."""

    work_dir: Path
    """Folder of all runs."""

    metric: str | None = None
    """Name of the metric that is compared; None: see ``choose_metric``."""

    iterations: int | None = None
    """The budget in iterations; None until it is settled."""

    timing: dict[str, float] | None = None
    """For a budget in time: number of steps that were timed, and seconds of a step."""

    remarks: list[str] = field(default_factory=list)
    """Settings of the config that have no effect here, in sentences."""

    data: dict[str, Any] = field(default_factory=dict)
    """Facts about the datasets."""

    commands: list[str] = field(default_factory=list)
    """Command lines that made this comparison."""

    configs: dict[str, Config] = field(default_factory=dict)
    """Config of each variant, by label."""

    def run_dir(self, variant: Variant, seed: int) -> Path:
        """Return the folder of one run."""
        return self.work_dir / "runs" / variant.slug / f"seed{seed}"

    def initial_weights(self, seed: int) -> Path:
        """Return the file of the weights that all variants of a seed start from."""
        return self.work_dir / "initial_weights" / f"seed{seed}.pth"


def plan_comparison(
    config: str,
    insert: str,
    at: Sequence[str],
    *,
    budget: str,
    seeds: int,
    data_root: str | None = None,
    work_dir: str | None = None,
    metric: str | None = None,
    cfg_options: dict | None = None,
) -> Comparison:
    """Read the settings of a comparison; the arguments are those of ``compare``.

    Raises:
        MMAttnError: A setting, or the config, is invalid.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: must be at least 1.")
    parse_budget(budget)
    variants = parse_variants(insert)
    cfg = load_config(config, cfg_options)
    if data_root:
        set_data_root(cfg, data_root)
    cfg = fill_class_counts(cfg)
    folder = Path(work_dir or f"work_dirs/compare_{Path(config.rpartition('::')[2]).stem}")
    places = parse_places(at, cfg)
    return Comparison(config, cfg, variants, places, seeds, budget, folder, metric=metric)


def choose_metric(comparison: Comparison, metrics: Collection[str]) -> str:
    """Choose ``--metric``, else that of the config's best checkpoint, else the task's usual one.

    Args:
        comparison: The comparison.
        metrics: Names of the metrics that a run has.

    Raises:
        ConfigError: The metric that was asked for is not among ``metrics``, or there are none.
    """
    hooks = comparison.cfg.get("default_hooks") or {}
    best = (hooks.get("checkpoint") or {}).get("save_best")
    task = task_of(comparison.cfg)
    return pick_metric(metrics, comparison.metric, task, comparison.config, preferred=best)
