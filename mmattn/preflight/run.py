"""Find what is wrong with a config before the first step: its names, then its data."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmattn.config.numerics import numerics_problems
from mmattn.config.optional_packages import require_packages
from mmattn.config.problems import refuse
from mmattn.config.ranks import ranks_problems
from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.config.sections import check_sections
from mmattn.config.walk import leaf_datasets, walk

from .backbone_stages import backbone_problems
from .batches import check_batches, repeated_draws
from .config_arguments import argument_problems
from .config_keys import key_problems, warn_of_unused
from .config_types import type_problems
from .metrics import check_mask_metrics, check_metric_file
from .num_classes import check_class_counts
from .ranges import range_problems
from .schedule import schedule_problems
from .signatures import signature_problems
from .structure import scope_problems, structure_problems
from .training import late_schedules

if TYPE_CHECKING:
    from mmengine.config import Config

    from .data import DatasetReport

logger = logging.getLogger("mmattn")


def preflight(
    cfg: Config,
    *,
    splits: Sequence[str] = ("train", "val"),
    full: bool = False,
    table: bool = False,
) -> list[DatasetReport]:
    """Check a config and its data; nothing is built but datasets without their pipelines.

    In order: what the config alone tells (``check_config``), then for each split its dataset
    (files, images, masks, annotations, class names) and the heads' numbers of classes, and the
    metric's annotation file (``check_data``).

    Args:
        cfg: The whole config; it is not changed.
        splits: Splits to check, of ``train``, ``val`` and ``test``; those without a dataloader are
            skipped.
        full: Read every image and mask instead of a sample.
        table: Log the classes with their counts.

    Returns:
        What was found, one report for each dataset.

    Raises:
        ConfigError: A key, type, metric or number of classes is wrong.
        MissingPackageError: An optional package that the config needs is not installed.
        DataError: Data is missing, cannot be read or contradicts itself.
    """
    check_config(cfg, splits)
    return check_data(cfg, splits, full=full, table=table)


def check_config(cfg: Config, splits: Sequence[str], *, whole: bool = False) -> None:
    """Check what needs no data: sections, keys, type names, arguments, schedule, metrics.

    Args:
        cfg: The whole config; it is not changed.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.
        whole: Whether the config is run as it is, so that nothing may be missing.

    Raises:
        ConfigError: Settings are wrong; the message lists all of them, each with its key.
        MissingPackageError: An optional package that the config needs is not installed.
    """
    check_sections(cfg, cfg.filename)  # first: all others read the sections
    keys, scope = key_problems(cfg), scope_problems(cfg)
    if scope:  # nothing can be looked up
        refuse([*keys, *scope, *schedule_problems(cfg, splits)], cfg.filename)
    require_packages(cfg, splits)
    enter_scope(cfg)
    refuse([*keys, *setting_problems(cfg, splits, whole=whole)], cfg.filename)
    warn_of_unused(cfg, cfg.filename)
    for late in late_schedules(cfg) if "train" in splits else ():
        logger.warning("%s: %s", cfg.filename, late)
    for split in splits:
        key = f"{split}_evaluator"
        check_mask_metrics(cfg.get("model") or {}, cfg.get(key), key, cfg.filename)


def setting_problems(cfg: Config, splits: Sequence[str], *, whole: bool = False) -> list[str]:
    """List what is wrong with a config whose scope was entered; each setting is told once.

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.
        whole: Whether the config is run as it is, so that nothing may be missing.

    Returns:
        Problems, each a sentence that begins with the key.
    """
    problems = [
        *type_problems(cfg, splits),
        *argument_problems(cfg, splits),
        *schedule_problems(cfg, splits),
        *structure_problems(cfg, splits, whole=whole),
        *range_problems(cfg, splits),
        *backbone_problems(cfg),
        *signature_problems(cfg, splits, whole=whole),
        *numerics_problems(cfg),
        *ranks_problems(cfg),
    ]
    told: dict[str, str] = {}
    for problem in problems:
        # "batch_size=0: …" and "batch_size=0 is …" are about one setting.
        told.setdefault(re.split(r"=|: | is | has ", problem, maxsplit=1)[0], problem)
    return [*told.values()]


def check_data(
    cfg: Config, splits: Sequence[str], *, full: bool = False, table: bool = False
) -> list[DatasetReport]:
    """Check the datasets of ``splits``, and the numbers of classes against them.

    Arguments and result are those of ``preflight``.

    Raises:
        ConfigError: A number of classes is wrong.
        DataError: Data is missing, cannot be read or contradicts itself.
    """
    from mmattn.data.dataset_probe import lazy_dataset

    from .data import check_dataset, smallest_stride

    enter_scope(cfg)
    chosen = {split: _dataset(cfg, split) for split in splits}
    # Class counts need no file: they are told first, for every split.
    for split, dataset in chosen.items():
        if dataset is not None and cfg.get("model"):
            leaves = list(leaf_datasets(dataset, f"{split}_dataloader.dataset"))
            built = [(where, lazy_dataset(leaf, where)) for where, leaf in leaves]
            found = [(w, type(one).__name__, one.metainfo) for w, one in built if one is not None]
            if len(found) == len(leaves):
                check_class_counts(cfg.model, found, cfg.filename)
    reports = []
    of_split: dict[str, list[DatasetReport]] = {}
    for split, dataset in chosen.items():
        if dataset is None:
            continue
        stride = smallest_stride(cfg.get("model") or {})
        for where, leaf in leaf_datasets(dataset, f"{split}_dataloader.dataset"):
            report = check_dataset(
                leaf,
                where,
                ignored=_ignored(cfg),
                full=full,
                stride=stride,
                steps=_all_steps(dataset, leaf),
            )
            of_split.setdefault(split, []).append(report)
            reports.append(report)
        _check_metric_files(cfg, split)
    _compare_splits(of_split, near=full)
    _note_scarcity(of_split)
    if "train" in splits:
        read = {report.where: report.entries for report in reports if report.entries}
        with explain_registry_errors(cfg.filename):
            warning = check_batches(cfg, read)
        for text in (warning, repeated_draws(cfg)):
            if text:
                logger.warning("%s", text)
    if table:
        for report in reports:
            logger.info("%s", report.table(warnings=False))  # they were logged
    return reports


def forget_annotations() -> None:
    """Let go of what was read of folders of boxes, for the checks and by the datasets alike."""
    from mmattn.boxes import forget_records

    forget_records()


def _dataset(cfg: Config, split: str) -> Mapping[str, Any] | None:
    loader = cfg.get(f"{split}_dataloader")
    dataset = loader.get("dataset") if isinstance(loader, Mapping) else None
    return dataset if isinstance(dataset, Mapping) else None


def _all_steps(dataset: Mapping[str, Any], leaf: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the steps of a dataset's pipeline and of those of its wrappers behind it."""
    steps = [step for step in leaf.get("pipeline") or () if isinstance(step, Mapping)]
    if dataset is leaf or not isinstance(dataset.get("dataset"), Mapping):
        return steps
    outer = [step for step in dataset.get("pipeline") or () if isinstance(step, Mapping)]
    return [*_all_steps(dataset["dataset"], leaf), *outer]


def _compare_splits(of_split: Mapping[str, Sequence[DatasetReport]], *, near: bool) -> None:
    """Note which images training shares with another split, in the reports of that."""
    from .data import shared_images

    train = [path for report in of_split.get("train", ()) for path in report.images]
    for split, reports in of_split.items():
        for report in reports if split != "train" and train else ():
            report.add(shared_images(train, report.images, split, near=near))


def _note_scarcity(of_split: Mapping[str, Sequence[DatasetReport]]) -> None:
    """Note what a split has too little of, in its reports."""
    from .data import classes_without_pixels, few_images

    images = {split: sum(r.entries for r in reports) for split, reports in of_split.items()}
    for split, reports in of_split.items():
        for report in reports if len(reports) == 1 else ():  # parts of one may complete each other
            found = [classes_without_pixels(report, split)]
            if split == "val":
                found.append(few_images(images.get("train", 0), images["val"]))
            report.add(finding for finding in found if finding)


def _ignored(cfg: Config) -> list[int]:
    """``ignore_index`` of the semantic heads and their losses."""
    model = cfg.get("model") or {}
    return [
        value
        for head in ("decode_head", "auxiliary_head")
        for path, value in walk(model.get(head), head)
        if path.endswith(".ignore_index") and isinstance(value, int)
    ]


def _check_metric_files(cfg: Config, split: str) -> None:
    """Check the annotation files that the metrics of ``split`` read for themselves."""
    from mmattn.data.files import check_place

    evaluator = cfg.get(f"{split}_evaluator")
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    for index, metric in enumerate(metrics):
        if not isinstance(metric, Mapping) or not isinstance(metric.get("ann_file"), str):
            continue
        where = f"{split}_evaluator" + (f"[{index}]" if len(metrics) > 1 else "")
        check_place(metric["ann_file"], f"{where}.ann_file", folder=False)
        check_metric_file(metric, where)
