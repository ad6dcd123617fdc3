"""A comparison from its command line to its report: check everything, train everything, measure.

The folder of a comparison:

    comparison.json      settings, budget in iterations, commands; refused if they do not fit
    base.py              the config before anything was inserted
    configs/SE.py        one config for each variant
    start/seed0.pth      initial weights that all variants of a seed share
    runs/SE/seed0/       mmengine's files of a run, result.json, areas.npz
    costs.json           parameters, operations, times, memory
    report.md, runs.csv, report.json, accuracy_latency.png
"""

from __future__ import annotations

import difflib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.load import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.environment import commit
from mmattn.errors import ConfigError
from mmattn.preflight.run import preflight
from mmattn.quiet import output_to
from mmattn.tasks import task_of

from .budget import parse_budget
from .checks import build_datasets, check_variant, collated, naming
from .initial_weights import write_initial_weights
from .places import Place, parse_places, with_block
from .progress import Progress
from .provenance import data_facts, machine_and_versions
from .shared_config import set_data_root, shared_config
from .train_variant import (
    CONSOLE,
    SETTINGS,
    check_settings,
    fingerprint,
    read_settings,
    run_variant,
    time_steps,
    write_json,
)
from .variants import BASE, Insert, parse_variants

if TYPE_CHECKING:
    from mmengine.config import Config

#: Seconds of training that a time budget is measured with.
_TIMING = 20.0


@dataclass
class Comparison:
    """What is compared, checked.

    Attributes:
        config: The base config as it was named.
        cfg: The base config, options and data root set.
        inserts: The variants, the base first.
        places: Where blocks go.
        seeds: How many.
        budget: As it was written.
        work_dir: Where everything lies.
        metric: What is compared; None: see ``choose_metric``.
        iterations: The budget in steps, once known.
        timing: Of a time budget: steps that were timed, median seconds.
        remarks: What the config had that has no effect.
        data: Facts about the datasets.
        commands: The command lines that made this.
        configs: The variants' configs, by label.
    """

    config: str
    cfg: Config
    inserts: tuple[Insert, ...]
    places: tuple[Place, ...]
    seeds: int
    budget: str
    work_dir: Path
    metric: str | None = None
    iterations: int | None = None
    timing: dict[str, float] | None = None
    remarks: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    configs: dict[str, Config] = field(default_factory=dict)

    def run_dir(self, insert: Insert, seed: int) -> Path:
        return self.work_dir / "runs" / insert.slug / f"seed{seed}"

    def start(self, seed: int) -> Path:
        return self.work_dir / "start" / f"seed{seed}.pth"


def compare(
    config: str,
    insert: str,
    at: Sequence[str],
    *,
    budget: str,
    seeds: int = 3,
    data: str | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    metric: str | None = None,
    cfg_options: dict | None = None,
    dry_run: bool = False,
    report_only: bool = False,
    command: str = "",
    say: Callable[[str], None] = print,
) -> Path | None:
    """Train a network with each of several blocks and without, and report what it brings.

    Args:
        config: A path or a name such as ``mmseg::fcn/…``.
        insert: ``none,SE,CBAM(reduction=8),ELA-T``.
        at: Places such as ``backbone.layer3.*.conv2`` or ``neck``.
        budget: Of each run: ``300it``, ``5min``.
        seeds: How many runs of each variant; seeds are 0, 1, …
        data: Replaces the datasets' ``data_root``.
        work_dir: Where the runs go; ``work_dirs/compare_<config>``.
        out: Where the report goes; ``work_dir``.
        metric: What is compared.
        cfg_options: Dotted keys and values that override the config.
        dry_run: Stop when everything is checked.
        report_only: Write the report from runs that are finished; train nothing.
        command: The command line, for the report.
        say: Told what happens.

    Returns:
        The report; None for a dry run.

    Raises:
        MMAttnError: Whatever is wrong with names, places, config, data or the folder.
    """
    from .report import write_report

    if seeds < 1:
        raise ConfigError(f"--seeds {seeds}: at least 1.")
    parse_budget(budget)
    inserts = parse_variants(insert)
    cfg = load_config(config, cfg_options)
    if data:
        set_data_root(cfg, data)
    folder = Path(work_dir or f"work_dirs/compare_{Path(config.rpartition('::')[2]).stem}")
    this = Comparison(
        config, cfg, inserts, parse_places(at, cfg), seeds, budget, folder, metric=metric
    )
    _remember(this, command if not report_only else "", report_only)
    if not report_only:
        _check(this, say)
        if dry_run:
            say("Everything was checked; nothing was trained (--dry-run).")
            return None
        _train(this, say)
        _costs(this, say)
    return write_report(this, Path(out) if out else folder, say)


def _remember(this: Comparison, command: str, report_only: bool) -> None:
    """Compare the settings with those of the folder, and keep what was found out before.

    Other settings are refused once something was trained; a mistake or a dry run binds nobody.
    """
    from mmengine.config import Config

    file, base = this.work_dir / "comparison.json", this.work_dir / "base.py"
    settings = {"at": [str(place) for place in this.places], "budget": this.budget}
    trained = any(this.work_dir.glob(f"runs/*/*/{SETTINGS}"))
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        differing = [
            f"{key} was {before[key]!r} and is {value!r}"
            for key, value in settings.items()
            if before[key] != value
        ]
        changes = _changes(Config.fromfile(base), this.cfg)
        if changes:
            differing.append(f"the config differs: {changes}")
        if differing and trained:
            raise ConfigError(
                f"{this.work_dir} holds a comparison with other settings: {'; '.join(differing)}. "
                "Its runs can't be compared with new ones: choose another --work-dir, or delete it."
            )
        if not differing:
            for key in ("iterations", "timing", "remarks", "data", "commands"):
                setattr(this, key, before[key])
    elif report_only:
        raise ConfigError(f"--report-only: {this.work_dir} holds no comparison yet.")
    if command:
        this.commands = [*(one for one in this.commands if one != command), command]
    this.work_dir.mkdir(parents=True, exist_ok=True)
    this.cfg.dump(base)
    _save(this)


def _save(this: Comparison) -> None:
    write_json(
        this.work_dir / "comparison.json",
        {
            "config": this.config,
            "at": [str(place) for place in this.places],
            "budget": this.budget,
            **{
                key: getattr(this, key)
                for key in ("iterations", "timing", "remarks", "data", "commands")
            },
        },
    )


def _check(this: Comparison, say: Callable[[str], None]) -> None:
    """Check data and all variants, and settle the number of iterations."""
    say(f"Checking {this.config} and its data")
    with output_to(this.work_dir / CONSOLE):
        enter_scope(this.cfg)
    preflight(this.cfg)
    if this.cfg.get("val_evaluator") is None:
        raise ConfigError(f"{this.cfg.filename}: has no val_evaluator, so nothing to compare.")
    with output_to(this.work_dir / CONSOLE):
        train, val = build_datasets(this.cfg)
        batch = collated(this.cfg, "train", train, 2)
        image = collated(this.cfg, "val", val, 1)
    this.data = data_facts(this.cfg, train, val)
    # The number of iterations may not be known yet; it does not matter to these checks.
    _write_configs(this, this.iterations or 100, len(train))
    for number, insert in enumerate(this.inserts, 1):
        where = " and ".join(map(str, this.places))
        what = insert.label if insert.block is None else f"{insert.label} at {where}"
        say(f"Checking {number}/{len(this.inserts)}: {what}")
        with naming(what), output_to(this.work_dir / CONSOLE):
            check_variant(this.configs[insert.label], batch, image)
    if this.iterations is None:
        _settle_budget(this, len(train), say)
    _write_configs(this, this.iterations, len(train))
    _save(this)
    for insert in this.inserts:
        for seed in range(this.seeds):
            settings = {"fingerprint": fingerprint(this.configs[insert.label]), "seed": seed}
            check_settings(this.run_dir(insert, seed), settings)


def _write_configs(this: Comparison, iterations: int, num_samples: int) -> None:
    from mmengine.config import Config

    shared, this.remarks = shared_config(this.cfg, iterations, num_samples)
    for insert in this.inserts:
        made = deepcopy(shared)
        made.model = with_block(this.cfg.to_dict()["model"], insert.block, this.places)
        path = this.work_dir / "configs" / f"{insert.slug}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        made.dump(path)
        # Read back: what was checked is what the file says.
        this.configs[insert.label] = Config.fromfile(path)


def _settle_budget(this: Comparison, num_samples: int, say: Callable[[str], None]) -> None:
    budget = parse_budget(this.budget)
    if budget.iterations is not None:
        this.iterations = budget.iterations
        return
    say(f"Timing {BASE} to turn {this.budget} into iterations")
    _write_configs(this, 10**6, num_samples)  # longer than will be timed
    folder = this.work_dir / "timing"
    _write_start(this, 0)
    steps = time_steps(this.configs[BASE], 0, folder, this.start(0), min(_TIMING, budget.seconds))
    shutil.rmtree(folder)
    this.iterations = budget.in_iterations(steps)
    this.timing = {"steps": len(steps), "seconds_per_step": budget.seconds / this.iterations}
    say(
        f"{this.budget} are {this.iterations} iterations of {this.timing['seconds_per_step']:.3g} s"
    )


def _write_start(this: Comparison, seed: int) -> None:
    if not this.start(seed).is_file():
        with output_to(this.work_dir / CONSOLE):
            write_initial_weights(this.configs[BASE], seed, this.start(seed))


def _train(this: Comparison, say: Callable[[str], None]) -> None:
    """All runs, seed by seed, so that what is there is a whole comparison as early as possible."""
    progress = Progress(len(this.inserts) * this.seeds, say)
    for seed in range(this.seeds):
        _write_start(this, seed)
        for insert in this.inserts:
            begin = time.perf_counter()
            with progress.run(f"{insert.label} seed {seed}") as shown:
                result = run_variant(
                    this.configs[insert.label],
                    seed,
                    this.run_dir(insert, seed),
                    this.start(seed),
                    shown.update,
                )
            shown.done(_outcome(this, result), time.perf_counter() - begin)


def _outcome(this: Comparison, result: dict[str, Any]) -> str:
    if "failure" in result:
        return f"failed: {result['failure']}"
    metric = choose_metric(this, result["metrics"])
    return f"{metric} {result['metrics'][metric]:.4g}"


def choose_metric(this: Comparison, metrics: dict[str, float]) -> str:
    """``--metric``, else what the config saves the best of, else the task's own, else the first.

    Raises:
        ConfigError: The metric that was asked for is none of the results, or there are none.
    """
    from mmattn.errors import did_you_mean

    if this.metric is not None:
        if this.metric not in metrics:
            raise ConfigError(
                f"--metric {this.metric}: {this.config} gives {', '.join(metrics)}."
                f"{did_you_mean(this.metric, metrics)}"
            )
        return this.metric
    if not metrics:
        raise ConfigError(f"{this.config}: its evaluator gave no metric.")
    hooks = this.cfg.get("default_hooks") or {}
    best = (hooks.get("checkpoint") or {}).get("save_best")
    usual = task_of(this.cfg).default_metric
    known = [name for name in metrics if name.rpartition("/")[2] == usual]
    return next((name for name in (best, *known) if name in metrics), next(iter(metrics)))


def _costs(this: Comparison, say: Callable[[str], None]) -> None:
    """Measure all variants side by side, unless just that was done before."""
    from mmengine.device import get_device

    from mmattn.inference.model import build_model

    from .cost import measure

    file = this.work_dir / "costs.json"
    # What runs below the same config decides as well.
    prints = {label: fingerprint(cfg) for label, cfg in this.configs.items()}
    prints["operators"] = machine_and_versions()["mmattn's operators"]
    if file.is_file() and json.loads(file.read_text(encoding="utf-8"))["of"] == prints:
        return
    say("Measuring time and memory of all variants in turn")
    with output_to(this.work_dir / CONSOLE):
        train, val = build_datasets(this.cfg)
        loader = this.cfg.train_dataloader
        size = loader.get("batch_size") or loader.batch_sampler.batch_size
        batch, image = collated(this.cfg, "train", train, size), collated(this.cfg, "val", val, 1)
        models = {label: build_model(cfg) for label, cfg in this.configs.items()}
        costs = measure(models, batch, image, device=get_device())
        shape = image_shape(models[BASE], image)
    write_json(
        file,
        {
            "of": prints,
            "commit": commit(),
            "machine": machine_and_versions(),
            "batch_size": size,
            "image": shape,
            "costs": {label: cost.to_dict() for label, cost in costs.items()},
        },
    )


def image_shape(model: Any, batch: Any) -> list[int]:
    """Of the tensor that the network gets for one validation image."""
    inputs = model.data_preprocessor(deepcopy(batch), False)["inputs"]
    return list(inputs.shape if hasattr(inputs, "shape") else inputs[0].shape)


def _changes(before: Config, now: Config) -> str:
    """The first lines that differ between what is read of two configs."""
    texts = [read_settings(one).splitlines() for one in (before, now)]
    lines = difflib.unified_diff(*texts, lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return ", ".join(" ".join(line.split()) for line in changed[:4]) + (
        ", …" if len(changed) > 4 else ""
    )
