"""A comparison from its command line to its report: check everything, train everything, measure.

The folder of a comparison:

    comparison.json            settings, budget in iterations, commands; refused if they do not fit
    base.py                    the config before anything was inserted
    configs/SE.py              one config for each variant
    initial_weights/seed0.pth  initial weights that all variants of a seed share
    runs/SE/seed0/             mmengine's files of a run, result.json, and its counts
                               of each image: areas.npz, matches_*.npz, drawn_*.npz
    costs.json                 parameters, operations, times, memory
    report.md, runs.csv, report.json, accuracy_latency.png
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmattn.config.registry_scope import enter_scope
from mmattn.environment import commit
from mmattn.errors import ConfigError
from mmattn.io import read_checkpoint
from mmattn.preflight.run import preflight
from mmattn.quiet import output_to

from .budget import parse_budget
from .checks import build_datasets, check_variant, collate_first, naming_variant
from .files import read_json, write_json
from .fingerprint import check_settings, fingerprint
from .initial_weights import write_initial_weights
from .places import with_block
from .plan import Comparison, choose_metric, plan_comparison
from .progress import RunProgress
from .provenance import data_facts, machine_and_versions
from .report import write_report
from .results import COSTS
from .saved_settings import restore_settings, save_settings
from .shared_config import shared_config
from .train_variant import CONSOLE, run_variant, time_steps
from .variants import BASE

#: Seconds of training that a time budget is measured with.
_TIMING = 20.0
#: Iterations of configs that are only checked, while a budget in time is not settled yet.
_ANY_LENGTH = 100

Log = Callable[[str], None]


def compare(
    config: str,
    insert: str,
    at: Sequence[str],
    *,
    budget: str,
    seeds: int = 3,
    data_root: str | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    metric: str | None = None,
    cfg_options: dict | None = None,
    dry_run: bool = False,
    report_only: bool = False,
    command: str = "",
    log: Log = print,
) -> Path | None:
    """Train a network with each of several blocks and without, and report what each one changes.

    Args:
        config: Path of the base config, or a name such as ``mmseg::fcn/…``.
        insert: Blocks, such as ``none,SE,CBAM(reduction=8),ELA-T``.
        at: Places of the blocks, such as ``backbone.layer3.*.conv2`` or ``neck``.
        budget: Length of each run: ``300it``, ``5min``.
        seeds: Number of runs of each variant; their seeds are 0, 1, …
        data_root: Folder that replaces the datasets' ``data_root``.
        work_dir: Folder of the runs; by default ``work_dirs/compare_<config>``.
        out: Folder of the report; by default ``work_dir``.
        metric: Name of the metric that is compared.
        cfg_options: Dotted keys and values that override the config.
        dry_run: Stop when everything is checked.
        report_only: Write the report from runs that are finished; train nothing.
        command: Command line, for the report.
        log: Function that prints a line about the progress.

    Returns:
        Path of the report; None for a dry run.

    Raises:
        MMAttnError: A name, a place, the config, the data or the folder is unfit.
    """
    comparison = plan_comparison(
        config,
        insert,
        at,
        budget=budget,
        seeds=seeds,
        data_root=data_root,
        work_dir=work_dir,
        metric=metric,
        cfg_options=cfg_options,
    )
    restore_settings(comparison, "" if report_only else command, report_only)
    if not report_only:
        _check(comparison, log)
        if dry_run:
            log("Everything was checked; nothing was trained (--dry-run).")
            return None
        _train(comparison, log)
        _measure_costs(comparison, log)
    return write_report(comparison, Path(out) if out else comparison.work_dir, log)


def _check(comparison: Comparison, log: Log) -> None:
    """Check data and all variants, and settle the number of iterations."""
    cfg, console = comparison.cfg, comparison.work_dir / CONSOLE
    log(f"Checking {comparison.config} and its data")
    with output_to(console):
        enter_scope(cfg)
    preflight(cfg)
    if cfg.get("val_evaluator") is None:
        raise ConfigError(f"{cfg.filename}: no val_evaluator, so there is no metric to compare.")
    with output_to(console):
        train, val = build_datasets(cfg)
        batch = collate_first(cfg, "train", train, 2)
        image = collate_first(cfg, "val", val, 1)
    comparison.data = data_facts(cfg, train, val)
    _write_configs(comparison, comparison.iterations or _ANY_LENGTH, len(train))
    for number, variant in enumerate(comparison.variants, 1):
        name = variant.label
        if variant.block is not None:
            name += f" at {' and '.join(map(str, comparison.places))}"
        log(f"Checking {number}/{len(comparison.variants)}: {name}")
        with naming_variant(name), output_to(console):
            check_variant(comparison.configs[variant.label], batch, image)
    if comparison.iterations is None:
        _settle_budget(comparison, len(train), log)
    _write_configs(comparison, comparison.iterations, len(train))
    save_settings(comparison)
    for variant in comparison.variants:
        for seed in range(comparison.seeds):
            settings = {
                "fingerprint": fingerprint(comparison.configs[variant.label]),
                "seed": seed,
            }
            check_settings(comparison.run_dir(variant, seed), settings)


def _write_configs(comparison: Comparison, iterations: int, num_samples: int) -> None:
    from mmengine.config import Config

    shared, comparison.remarks = shared_config(comparison.cfg, iterations, num_samples)
    for variant in comparison.variants:
        cfg = deepcopy(shared)
        cfg.model = with_block(comparison.cfg.to_dict()["model"], variant.block, comparison.places)
        path = comparison.work_dir / "configs" / f"{variant.slug}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        cfg.dump(path)
        # Read back: what was checked is what the file says.
        comparison.configs[variant.label] = Config.fromfile(path)


def _settle_budget(comparison: Comparison, num_samples: int, log: Log) -> None:
    budget = parse_budget(comparison.budget)
    if budget.iterations is not None:
        comparison.iterations = budget.iterations
        return
    log(f"Timing {BASE} to turn {comparison.budget} into iterations")
    _write_configs(comparison, 10**6, num_samples)  # longer than will be timed
    _write_initial_weights(comparison, 0)
    folder = comparison.work_dir / "timing"
    steps = time_steps(
        comparison.configs[BASE],
        0,
        folder,
        comparison.initial_weights(0),
        min(_TIMING, budget.seconds),
    )
    shutil.rmtree(folder)
    comparison.iterations = budget.in_iterations(steps)
    seconds = budget.seconds / comparison.iterations
    comparison.timing = {"steps": len(steps), "seconds_per_step": seconds}
    log(f"{comparison.budget} are {comparison.iterations} iterations of {seconds:.3g} s")


def _write_initial_weights(comparison: Comparison, seed: int) -> None:
    path = comparison.initial_weights(seed)
    if not path.is_file():
        with output_to(comparison.work_dir / CONSOLE):
            write_initial_weights(comparison.configs[BASE], seed, path)


def _train(comparison: Comparison, log: Log) -> None:
    """Train seed by seed, so that there is a whole comparison as early as possible."""
    progress = RunProgress(len(comparison.variants) * comparison.seeds, log)
    for seed in range(comparison.seeds):
        _write_initial_weights(comparison, seed)
        for variant in comparison.variants:
            begin = time.perf_counter()
            with progress.run(f"{variant.label} seed {seed}") as run:
                result = run_variant(
                    comparison.configs[variant.label],
                    seed,
                    comparison.run_dir(variant, seed),
                    comparison.initial_weights(seed),
                    run.update,
                    log,
                )
            run.finish(_outcome(comparison, result), time.perf_counter() - begin)


def _outcome(comparison: Comparison, result: dict[str, Any]) -> str:
    if "failure" in result:
        return f"failed: {result['failure']}"
    metric = choose_metric(comparison, result["metrics"])
    return f"{metric} {result['metrics'][metric]:.4g}"


def _measure_costs(comparison: Comparison, log: Log) -> None:
    """Measure all variants side by side, unless exactly that was done before."""
    from mmengine.device import get_device

    from mmattn.inference.model import build_model

    from .variant_cost import measure

    file = comparison.work_dir / COSTS
    machine = machine_and_versions()
    fingerprints = {label: fingerprint(cfg) for label, cfg in comparison.configs.items()}
    # The implementation of our operators decides as well, below the same config.
    fingerprints["operators"] = machine["mmattn's operators"]
    if file.is_file() and read_json(file)["of"] == fingerprints:
        return
    log("Measuring time and memory of all variants in turn")
    cfg = comparison.cfg
    with output_to(comparison.work_dir / CONSOLE):
        train, val = build_datasets(cfg)
        loader = cfg.train_dataloader
        size = loader.get("batch_size") or loader.batch_sampler.batch_size
        batch = collate_first(cfg, "train", train, size)
        image = collate_first(cfg, "val", val, 1)
        models = {label: build_model(config) for label, config in comparison.configs.items()}
        # The number of proposals of a detector of two stages depends on the weights.
        weights = read_checkpoint(comparison.initial_weights(0))["state_dict"]
        for model in models.values():
            model.load_state_dict(weights, strict=False)
        costs = measure(models, batch, image, device=get_device())
        shape = _input_shape(models[BASE], image)
    write_json(
        file,
        {
            "of": fingerprints,
            "commit": commit(),
            "machine": machine,
            "batch_size": size,
            "image": shape,
            "two_stages": bool(getattr(models[BASE], "with_rpn", False)),
            "costs": {label: cost.to_dict() for label, cost in costs.items()},
        },
    )


def _input_shape(model: Any, batch: Any) -> list[int]:
    """Return the shape of the tensor that the network gets for one validation image."""
    inputs = model.data_preprocessor(deepcopy(batch), False)["inputs"]
    return list(inputs.shape if hasattr(inputs, "shape") else inputs[0].shape)
