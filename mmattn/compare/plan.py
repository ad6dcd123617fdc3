"""The plan of a comparison: network, blocks, places, seeds and budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.data_overrides import set_data_root
from mmattn.config.load import load_config
from mmattn.errors import ConfigError
from mmattn.given_words import remember
from mmattn.preflight.auto_classes import fill_class_counts
from mmattn.tasks import task_of

from .budget import parse_budget
from .metric import pick_metric
from .places import AUTO, Place, candidate_places, parse_places
from .variants import (
    BASE,
    SEED_OFFSET,
    Variant,
    at_all_places,
    at_each_place,
    other_seeds,
    parse_variants,
    wider_host,
)
from .width import Widening

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
    """Variants of the network: the one without a block, those with one, and the controls."""

    places: tuple[Place, ...]
    """Places where blocks are inserted."""

    seeds: int
    """Number of runs of each variant; their seeds are 0, 1, … (``Variant.seed_offset``)."""

    budget: str
    """Length of each run, as it was given."""

    work_dir: Path
    """Folder of all runs."""

    metric: str | None = None
    """Name of the metric that is compared; None: see ``choose_metric``."""

    controls: bool = True
    """Whether the controls are trained as well."""

    total: str | None = None
    """Time of all runs together, as it was given; it becomes ``budget``."""

    match_time: bool = True
    """Whether slower variants are trained again, for as long as the base takes."""

    insert: str = ""
    """Blocks, as they were given."""

    grid: bool = False
    """Whether each block is at each place in turn, instead of at all places."""

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

    widenings: list[dict[str, Any]] = field(default_factory=list)
    """The wider hosts: ``Widening.to_json``, and ``of``, the labels of their blocks."""

    no_width: dict[str, str] = field(default_factory=dict)
    """Reason why a block has no wider host, by its label."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Reason why a block of a grid cannot be at a place, by the variant's label."""

    equal_time: dict[str, dict[str, float]] = field(default_factory=dict)
    """For each variant by label: ``ratio``, seconds of its step over those of the base's step, and
    ``iterations``, as many as the base's time allows."""

    def config_file(self, variant: Variant, suffix: str = "") -> Path:
        """Return the config file of a variant, or of its runs that ``suffix`` tells apart."""
        return self.work_dir / "configs" / f"{variant.slug}{suffix}.py"

    def run_dir(self, variant: Variant, seed: int, equal_time: bool = False) -> Path:
        """Return the folder of one run; ``seed`` counts from 0 for every variant."""
        name = f"{'equal_time_' if equal_time else ''}seed{seed + variant.seed_offset}"
        return self.work_dir / "runs" / variant.slug / name

    def initial_weights(self, variant: Variant, seed: int) -> Path:
        """Return the file of the weights that a run starts from.

        It is the same one for all variants of a seed, except for wider hosts, whose other layers
        have other shapes.
        """
        own = f"{variant.slug}_" if variant.widening else ""
        return self.work_dir / "initial_weights" / f"{own}seed{seed + variant.seed_offset}.pth"

    def needs_equal_time(self, variant: Variant) -> bool:
        """Return whether a variant is trained again, with fewer steps."""
        if not self.match_time:  # though an earlier start found out how many
            return False
        steps = self.equal_time.get(variant.label, {}).get("iterations")
        return steps is not None and steps != self.iterations

    def wider_host_of(self, label: str) -> str | None:
        """Return the label of the wider host that a variant is compared with, if there is one."""
        for entry in self.widenings:
            if label in entry["of"]:
                return wider_host(widening_of(entry)).label
        return None

    def drop_left_out(self) -> None:
        """Take the variants that cannot be built out of the comparison.

        Raises:
            ConfigError: No block is left.
        """
        kept = tuple(v for v in self.variants if v.label not in self.left_out)
        if not any(variant.block for variant in kept) and any(v.block for v in self.variants):
            reasons = "; ".join(dict.fromkeys(self.left_out.values()))
            raise ConfigError(f"--at {AUTO}: no block fits at any place: {reasons}")
        self.variants = kept

    def add_wider_hosts(self) -> None:
        """Put the wider hosts of the present variants behind them."""
        labels = {variant.label for variant in self.variants}
        hosts = [
            wider_host(widening_of(entry))
            for entry in self.widenings
            if labels.intersection(entry["of"])
        ]
        self.variants += tuple(host for host in hosts if host.label not in labels)


def widening_of(entry: dict[str, Any]) -> Widening:
    """Return the widening of an entry of ``Comparison.widenings``."""
    return Widening.from_json({key: value for key, value in entry.items() if key != "of"})


def plan_comparison(
    config: str,
    insert: str,
    at: Sequence[str],
    *,
    budget: str | None,
    seeds: int,
    controls: bool = True,
    total: str | None = None,
    match_time: bool = True,
    data_root: str | None = None,
    work_dir: str | None = None,
    metric: str | None = None,
    cfg_options: dict | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Read the settings of a comparison; the arguments are those of ``compare``.

    Without ``insert`` there is the network without a block alone.

    Raises:
        MMAttnError: A setting, or the config, is invalid.
    """
    if not 1 <= seeds <= SEED_OFFSET:
        raise ConfigError(f"--seeds {seeds}: must be at least 1 and at most {SEED_OFFSET}.")
    if (budget is None) == (total is None):
        raise ConfigError("Give either --budget, the length of each run, or --total, that of all.")
    if total is not None and parse_budget(total).seconds is None:
        raise ConfigError(f"--total {total!r}: expected a time: 30min, 2h.")
    if budget is not None:
        parse_budget(budget)
    variants = parse_variants(insert) if insert else (Variant(BASE),)
    cfg = load_config(config, cfg_options)
    if data_root:
        remember({"--data-root": data_root})
        set_data_root(cfg, data_root)
    cfg = fill_class_counts(cfg)
    folder = Path(work_dir or f"work_dirs/compare_{Path(config.rpartition('::')[2]).stem}")
    grid = list(at) == [AUTO]
    places: tuple[Place, ...] = ()
    if insert:
        places = candidate_places(cfg) if grid else parse_places(at, cfg, log)
    variants = (at_each_place if grid else at_all_places)(variants, places)
    if controls:
        variants += (other_seeds(),)
    return Comparison(
        *(config, cfg, variants, places, seeds, budget or f"{total} in all", folder),
        metric=metric,
        controls=controls,
        total=total,
        match_time=match_time,
        insert=insert,
        grid=grid,
    )


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
