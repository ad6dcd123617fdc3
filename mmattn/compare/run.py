"""A comparison from its command line to its report: check everything, train everything, measure.

The folder of a comparison:

    comparison.json            settings, budget in iterations, commands; refused if they do not fit
    base.py                    the config before anything was inserted
    data.json                  size and SHA-256 of the files of the data
    configs/SE.py              one config for each variant
    initial_weights/seed0.pth  initial weights that all variants of a seed share
    runs/SE/seed0/             mmengine's files of a run, result.json, and its counts
                               of each image: areas.npz, matches_*.npz, drawn_*.npz
    runs/SE/equal_time_seed0/  the same of a run that is as long as the base's in time
    costs.json                 parameters, operations, times, memory
    report.md, …               see ``report``
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmattn.config.registry_scope import enter_scope
from mmattn.environment import commit
from mmattn.errors import ConfigError
from mmattn.preflight.run import preflight
from mmattn.quiet import output_to

from .alone import alone_in
from .budget import Budget, parse_budget
from .checks import build_datasets, check_variant, collate_first, metric_names, naming_variant
from .costs import CostJob, measure_apart
from .files import read_json, write_json
from .fingerprint import check_settings, fingerprint
from .initial_weights import write_initial_weights
from .jobs import Job, check_devices, parse_devices, train_in_processes
from .lock import write_data_manifest
from .plan import Comparison, choose_metric, plan_comparison
from .progress import RunProgress
from .provenance import data_facts, machine_and_versions
from .report import write_report
from .results import COSTS
from .saved_settings import restore_settings, save_settings
from .shared_config import shared_config
from .train_variant import CONSOLE, run_variant, time_steps
from .variants import BASE, Variant
from .wider_hosts import choose_wider_hosts

#: Seconds of training that a time budget is measured with.
_TIMING = 20.0
#: Iterations of configs that are only checked, while a budget in time is not settled yet.
_ANY_LENGTH = 100
# End of the name of the config of a run that is as long as the base's in time.
_EQUAL_TIME = "_equal_time"

Log = Callable[[str], None]


def compare(
    config: str,
    insert: str,
    at: Sequence[str],
    *,
    budget: str | None = None,
    total: str | None = None,
    seeds: int = 5,
    controls: bool = True,
    match_time: bool = True,
    devices: str | None = None,
    jobs: int | None = None,
    data_root: str | None = None,
    work_dir: str | None = None,
    out: str | None = None,
    metric: str | None = None,
    cfg_options: dict | None = None,
    dry_run: bool = False,
    report_only: bool = False,
    preset: Mapping[str, Any] | None = None,
    before_training: Callable[[Comparison], None] | None = None,
    command: str = "",
    log: Log = print,
) -> Path | None:
    """Train a network with each of several blocks and without, and report what each one changes.

    Args:
        config: Path of the base config, or a name such as ``mmseg::fcn/…``.
        insert: Blocks, such as ``none,SE,CBAM(reduction=8),ELA-T``.
        at: Places of the blocks, such as ``backbone.layer3.*.conv2`` or ``neck``; ``auto`` alone
            for each block at each of ``candidate_places`` in turn.
        budget: Length of each run: ``300it``, ``5min``.
        total: Time of all runs together, ``2h``, instead of ``budget``.
        seeds: Number of runs of each variant; their seeds are 0, 1, …
        controls: Train the controls as well: the network with other seeds, and wider ones.
        match_time: Train slower variants again, for as long as the network without a block takes.
        devices: Devices for runs in processes of their own: ``cuda:0,cuda:1``.
        jobs: Number of such processes at a time.
        data_root: Folder that replaces the datasets' ``data_root``.
        work_dir: Folder of the runs; by default ``work_dirs/compare_<config>``.
        out: Folder of the report; by default ``work_dir``.
        metric: Name of the metric that is compared.
        cfg_options: Dotted keys and values that override the config.
        dry_run: Stop when everything is checked.
        report_only: Write the report from runs that are finished; train nothing.
        preset: Fields of ``Comparison`` that a new folder begins with, of ``lock.PRESET``.
        before_training: Called when everything is checked.
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
        total=total,
        seeds=seeds,
        controls=controls,
        match_time=match_time,
        data_root=data_root,
        work_dir=work_dir,
        metric=metric,
        cfg_options=cfg_options,
        log=log,
    )
    processes = parse_devices(devices, jobs)
    for key, value in (preset or {}).items():
        setattr(comparison, key, value)
    with nullcontext() if report_only else alone_in(comparison.work_dir):
        restore_settings(comparison, "" if report_only else command, report_only)
        if not report_only:
            check_devices(processes)
            check(comparison, log)
            if before_training is not None:
                before_training(comparison)
            if dry_run:
                log("Everything was checked; nothing was trained (--dry-run).")
                return None
            _measure_costs(comparison, log)
            _settle_equal_time(comparison)
            train(comparison, processes, log)
        else:
            comparison.drop_left_out()
            if comparison.controls:
                comparison.add_wider_hosts()
        return write_report(comparison, Path(out) if out else comparison.work_dir, log)


def check(comparison: Comparison, log: Log) -> None:
    """Check data and all variants, and settle the number of iterations."""
    cfg, console = comparison.cfg, comparison.work_dir / CONSOLE
    log(f"Checking {comparison.config} and its data")
    with output_to(console):
        enter_scope(cfg)
    reports = preflight(cfg)
    if cfg.get("val_evaluator") is None:
        raise ConfigError(f"{cfg.filename}: no val_evaluator, so there is no metric to compare.")
    with output_to(console):
        train, val = build_datasets(cfg)
        batch = collate_first(cfg, "train", train, 2)
        image = collate_first(cfg, "val", val, 1)
    comparison.data = data_facts(cfg, train, val)
    write_data_manifest(reports, comparison.work_dir)
    length = comparison.iterations or _ANY_LENGTH
    _write_configs(comparison, length, len(train))
    parameters = {}
    for number, variant in enumerate(comparison.variants, 1):
        log(f"Checking {number}/{len(comparison.variants)}: {variant.description}")
        try:
            with naming_variant(variant.description), output_to(console):
                model = check_variant(comparison.configs[variant.label], batch, image)
        except ConfigError as error:
            if not comparison.grid or variant.block is None:
                raise
            # Nobody asked for this very place.
            comparison.left_out[variant.label] = str(error)
            log(f"Left out: {error}")
            continue
        if variant.label == BASE and comparison.metric is not None:
            _check_metric(comparison, model, val, image, log)
        parameters[variant.label] = sum(p.numel() for p in model.parameters())
    comparison.drop_left_out()

    def fits(variant: Variant) -> None:
        _write_config(comparison, variant, length, len(train))
        with naming_variant(variant.description):
            check_variant(comparison.configs[variant.label], batch, image)

    if comparison.controls:
        with output_to(console):
            choose_wider_hosts(comparison, parameters, fits)
        for entry in comparison.widenings:
            setting = f"{entry['setting']} {entry['before']:g} -> {entry['value']:g}"
            log(f"Wider host of {', '.join(entry['of'])}: {setting}, {entry['adds']:+,} parameters")
        for label, reason in comparison.no_width.items():
            log(f"No wider host of {label}: {reason}")
    if comparison.iterations is None:
        _settle_budget(comparison, len(train), log)
    _write_configs(comparison, comparison.iterations, len(train))
    save_settings(comparison)
    for variant in comparison.variants:
        for seed in range(comparison.seeds):
            settings = {
                "fingerprint": fingerprint(comparison.configs[variant.label]),
                "seed": seed + variant.seed_offset,
            }
            check_settings(comparison.run_dir(variant, seed), settings)


def _check_metric(comparison: Comparison, model: Any, val: Any, image: Any, log: Log) -> None:
    """Refuse a ``--metric`` that the evaluation does not give, before anything is trained."""
    try:
        with output_to(comparison.work_dir / CONSOLE):
            names = metric_names(comparison.configs[BASE], model, val, image)
    except Exception as error:  # whatever a metric raises on a single image
        log(f"--metric is first looked for after a run: {type(error).__name__}: {error}")
        return
    if names:
        choose_metric(comparison, names)
    else:
        log("--metric is first looked for after a run: one image gives no metric")


def _write_configs(comparison: Comparison, iterations: int, num_samples: int) -> None:
    for variant in comparison.variants:
        _write_config(comparison, variant, iterations, num_samples)


def _write_config(
    comparison: Comparison, variant: Variant, iterations: int, num_samples: int, suffix: str = ""
) -> Path:
    """Write the config of a variant, and read it back: what was checked is what the file says."""
    from mmengine.config import Config

    cfg, remarks = shared_config(comparison.cfg, iterations, num_samples)
    cfg.model = variant.model(comparison.cfg.to_dict()["model"])
    path = comparison.config_file(variant, suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)
    if not suffix:
        comparison.remarks = remarks
        comparison.configs[variant.label] = Config.fromfile(path)
    return path


def _settle_budget(comparison: Comparison, num_samples: int, log: Log) -> None:
    budget = parse_budget(comparison.total or comparison.budget)
    if comparison.total:
        # The runs of other lengths that equal time may ask for are not known yet.
        runs = comparison.seeds * len(comparison.variants)
        budget = Budget(seconds=budget.seconds / runs)
        log(f"{comparison.total} are {budget.seconds:.0f} s for each of {runs} runs")
    if budget.iterations is not None:
        comparison.iterations = budget.iterations
        return
    log(f"Timing {BASE} to turn {comparison.budget} into iterations")
    _write_configs(comparison, 10**6, num_samples)  # longer than will be timed
    base = comparison.variants[0]
    _write_initial_weights(comparison, base, 0)
    folder = comparison.work_dir / "timing"
    steps = time_steps(
        comparison.configs[BASE],
        0,
        folder,
        comparison.initial_weights(base, 0),
        min(_TIMING, budget.seconds),
    )
    shutil.rmtree(folder)
    comparison.iterations = budget.in_iterations(steps)
    seconds = budget.seconds / comparison.iterations
    comparison.timing = {"steps": len(steps), "seconds_per_step": seconds}
    log(f"{comparison.budget} are {comparison.iterations} iterations of {seconds:.3g} s")


def _write_initial_weights(comparison: Comparison, variant: Variant, seed: int) -> None:
    """Write the weights that a run starts from, unless they are there."""
    path = comparison.initial_weights(variant, seed)
    if path.is_file():
        return
    shared = None
    if variant.widening is not None:
        base = comparison.variants[0]
        _write_initial_weights(comparison, base, seed)
        shared = comparison.initial_weights(base, seed)
    cfg = comparison.configs[variant.label if variant.widening else BASE]
    with output_to(comparison.work_dir / CONSOLE):
        write_initial_weights(cfg, seed + variant.seed_offset, path, shared)


def _jobs(comparison: Comparison) -> list[Job]:
    """List all runs, seed by seed, so that there is a whole comparison as early as possible."""
    jobs = []
    for seed in range(comparison.seeds):
        for equal_time in (False, True):
            for variant in comparison.variants:
                if equal_time and not comparison.needs_equal_time(variant):
                    continue
                suffix = _EQUAL_TIME if equal_time else ""
                jobs.append(
                    Job(
                        f"{variant.label} seed {seed}{' in equal time' if equal_time else ''}",
                        str(comparison.config_file(variant, suffix)),
                        seed + variant.seed_offset,
                        str(comparison.run_dir(variant, seed, equal_time)),
                        str(comparison.initial_weights(variant, seed)),
                    )
                )
    return jobs


def train(comparison: Comparison, devices: Sequence[str], log: Log) -> None:
    """Train what is not trained yet: here, or in processes on several devices."""
    for seed in range(comparison.seeds):
        for variant in comparison.variants:
            _write_initial_weights(comparison, variant, seed)
    jobs = _jobs(comparison)
    if devices == [""]:
        _train_here(comparison, jobs, log)
        return
    open_jobs = [job for job in jobs if job.result is None]
    count = len(jobs) - len(open_jobs)

    def finished(job: Job, seconds: float) -> None:
        nonlocal count
        count += 1
        outcome = _outcome(comparison, job.result or {})
        log(f"[{count:>{len(str(len(jobs)))}}/{len(jobs)}] {job.name}: {outcome}  {seconds:.0f} s")

    if count:
        log(f"{count} of {len(jobs)} runs were finished before")
    train_in_processes(open_jobs, devices, finished)


def _train_here(comparison: Comparison, jobs: Sequence[Job], log: Log) -> None:
    from mmengine.config import Config

    progress = RunProgress(len(jobs), log)
    for job in jobs:
        begin = time.perf_counter()
        with progress.run(job.name) as run:
            result = run_variant(
                Config.fromfile(job.config),
                job.seed,
                Path(job.work_dir),
                Path(job.initial_weights),
                run.update,
                log,
            )
        run.finish(_outcome(comparison, result), time.perf_counter() - begin)


def _settle_equal_time(comparison: Comparison) -> None:
    """Find out how many steps each variant takes in the time of the base, once and for all."""
    if not comparison.match_time:
        return
    from .variant_cost import step_ratio

    costs = read_json(comparison.work_dir / COSTS)["costs"]
    for variant in comparison.variants:
        if variant.label == BASE or variant.seed_offset:
            continue
        if variant.label not in comparison.equal_time:
            ratio, (low, _) = step_ratio(costs[variant.label]["step"], costs[BASE]["step"])
            steps = comparison.iterations
            if low > 1:
                steps = max(1, int(steps / ratio))
            comparison.equal_time[variant.label] = {"ratio": ratio, "iterations": steps}
        if comparison.needs_equal_time(variant):
            steps = int(comparison.equal_time[variant.label]["iterations"])
            _write_config(comparison, variant, steps, comparison.data["train"], _EQUAL_TIME)
    save_settings(comparison)


def _outcome(comparison: Comparison, result: dict[str, Any]) -> str:
    if "failure" in result:
        return f"failed: {result['failure']}"
    metric = choose_metric(comparison, result["metrics"])
    return f"{metric} {result['metrics'][metric]:.4g}"


def _measure_costs(comparison: Comparison, log: Log) -> None:
    """Measure all variants side by side, unless exactly that was done before."""
    import torch
    from mmengine.device import get_device

    file = comparison.work_dir / COSTS
    machine = machine_and_versions()
    # A control with other seeds costs what the base costs.
    variants = [variant for variant in comparison.variants if not variant.seed_offset]
    fingerprints = {v.label: fingerprint(comparison.configs[v.label]) for v in variants}
    # The implementation of our operators decides as well, below the same config.
    fingerprints["operators"] = machine["mmattn's operators"]
    if file.is_file() and read_json(file)["of"] == fingerprints:
        return
    log("Measuring time and memory of all variants in turn")
    for variant in variants:
        _write_initial_weights(comparison, variant, 0)
    job = CostJob(
        base=str(comparison.work_dir / "base.py"),
        configs={v.label: str(comparison.config_file(v)) for v in variants},
        weights={v.label: str(comparison.initial_weights(v, 0)) for v in variants},
        device=get_device(),
        threads=torch.get_num_threads(),
    )
    measured = measure_apart(job, comparison.work_dir, log)
    for variant in comparison.variants:
        if variant.seed_offset:
            measured["costs"][variant.label] = measured["costs"][BASE]
    write_json(file, {"of": fingerprints, "commit": commit(), "machine": machine, **measured})
