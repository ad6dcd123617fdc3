"""What a run is made of: sections that belong together, types, and words that mean something."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.run_settings import work_dir_problem
from mmattn.config.walk import LOADERS, at, parts_of, walk
from mmattn.errors import did_you_mean
from mmattn.type_names import bare_name

from .loaders import loader_problems
from .training import training_problems

#: Sections that mmengine wants together or not at all.
_TOGETHER = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "val": ("val_dataloader", "val_cfg", "val_evaluator"),
    "test": ("test_dataloader", "test_cfg", "test_evaluator"),
}
#: Parts of a model that are built by their type.
_PARTS = re.compile(
    r"backbone|neck|decode_head|auxiliary_head|bbox_head|rpn_head|roi_head|mask_head|"
    r"panoptic_head|loss_(?:cls|bbox|mask|decode|iou|dice|obj|centerness)"
)
_LOOPS = {"train": "TrainLoop", "val": "ValLoop", "test": "TestLoop"}
#: Setting -> words that it may be.
_WORDS = {
    "launcher": ("none", "pytorch", "slurm", "mpi"),
    "env_cfg.mp_cfg.mp_start_method": ("fork", "spawn", "forkserver"),
    "env_cfg.dist_cfg.backend": (
        *("nccl", "gloo", "mpi", "ucc", "xccl", "hccl", "cncl", "mccl", "smddp"),
        "cpu:gloo,cuda:nccl",
    ),
    "model.test_cfg.mode": ("whole", "slide", "slide_flip", "predict", "loss", "tensor"),
}
_SWITCHES = (
    *("resume", "randomness.deterministic", "randomness.diff_rank_seed"),
    *("env_cfg.cudnn_benchmark", "auto_scale_lr.enable"),
)
#: Metric -> names that it may be asked for.
_METRICS = {
    "IoUMetric": ("iou_metrics", ("mIoU", "mDice", "mFscore")),
    "CocoMetric": ("metric", ("bbox", "segm", "proposal", "proposal_fast", "boundary")),
    "ClasswiseCocoMetric": ("metric", ("bbox", "segm", "proposal", "proposal_fast", "boundary")),
}


def scope_problems(cfg: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with ``default_scope``, without which no type can be looked up."""
    scope = cfg.get("default_scope")
    if not isinstance(scope, str) or not scope:
        return []
    try:
        found = importlib.util.find_spec(scope) is not None
    except (ImportError, ValueError):
        found = False
    if found or _is_registered_scope(scope):
        return []
    hint = did_you_mean(scope, ("mmdet", "mmseg", "mmattn", "mmengine"))
    return [f"default_scope={scope!r}: no package of this name is installed.{hint}"]


def structure_problems(
    cfg: Mapping[str, Any], splits: Sequence[str], *, whole: bool = False
) -> list[str]:
    """List what is missing, empty or of words that mean nothing.

    The config's scope must have been entered (``enter_scope``).

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.
        whole: Whether the config is run as it is, so that nothing may be missing.

    Returns:
        Problems, each a sentence that begins with the key.
    """
    problems = [
        *_sections(cfg, splits, whole),
        *_types(cfg, splits, whole),
        *_words(cfg),
        *_numbers(cfg),
    ]
    for split in splits:
        loader = cfg.get(f"{split}_dataloader")
        if isinstance(loader, Mapping):
            problems += loader_problems(loader, f"{split}_dataloader", whole=whole)
        problems += _metrics(cfg.get(f"{split}_evaluator"), f"{split}_evaluator")
    if "train" in splits:
        problems += training_problems(cfg)
    problems += _priorities(cfg.get("custom_hooks"))
    problems += _slide(at(cfg, "model.test_cfg"))
    problems += _places(cfg.get("model"))
    return list(dict.fromkeys(problems))


def _places(model: Any) -> Iterator[str]:
    """Yield places of blocks that begin with another part than the one that they are in."""
    parts = model if isinstance(model, Mapping) else {}
    for part, network in parts.items():
        plugins = network.get("plugins") if isinstance(network, Mapping) else None
        for number, entry in enumerate(plugins if isinstance(plugins, (list, tuple)) else ()):
            given = entry.get("at") if isinstance(entry, Mapping) else None
            for pattern in [given] if isinstance(given, str) else given or ():
                other = str(pattern).partition(".")[0]
                if other != part and isinstance(parts.get(other), Mapping):
                    yield (
                        f"model.{part}.plugins.{number}.at={pattern!r} is a place in "
                        f"model.{other}: put it into the plugins there"
                    )


def _sections(cfg: Mapping[str, Any], splits: Sequence[str], whole: bool) -> Iterator[str]:
    trained = [key for key in _TOGETHER["train"][1:] if cfg.get(key) is not None]
    if whole and "train" in splits and trained and not cfg.get("model"):
        yield "model is missing: write model=dict(type=...), or inherit one with _base_"
    # A config without any data is a base for others, or a model alone.
    with_data = any(cfg.get(loader) is not None for loader in LOADERS)
    for split in splits if whole and cfg.get("model") and with_data else ():
        keys = _TOGETHER[split]
        there = [key for key in keys if cfg.get(key) is not None]
        if there and len(there) < len(keys):
            missing = [key for key in keys if key not in there]
            yield (
                f"{', '.join(missing)} missing, while {', '.join(there)} "
                f"{'is' if len(there) == 1 else 'are'} there: write all of {', '.join(keys)}, or "
                "set all to None"
            )
    for split in splits:
        loop, ending = cfg.get(f"{split}_cfg"), _LOOPS[split]
        name = bare_name(loop.get("type")) if isinstance(loop, Mapping) else ""
        others = [word for other, word in _LOOPS.items() if other != split]
        if any(name.endswith(word) for word in others) and not name.endswith(ending):
            yield f"{split}_cfg.type={name!r} is the loop of another split: a {ending} is expected"


def _types(cfg: Mapping[str, Any], splits: Sequence[str], whole: bool) -> Iterator[str]:
    """Yield parts without a ``type``, from which nothing can be built."""
    if cfg.get("model") == {} and "train" in splits:
        yield "model is empty: write model=dict(type=...)"
    # What lies in a part without a type belongs to another library.
    typed = {"model"}
    for path, value in walk(cfg.get("model"), "model") if whole else ():
        if isinstance(value, Mapping) and "type" in value:
            typed.add(path)
        if not isinstance(value, Mapping) or not value or "type" in value:
            continue
        around, _, last = path.rpartition(".")
        part = _PARTS.fullmatch(re.sub(r"\[\d+\]$", "", last))
        if path == "model" or (part and around in typed):
            yield f"{path}.type is missing: say which class it is"
    sections = ["visualizer", "optim_wrapper.optimizer"]
    for split in splits:
        sections += [f"{split}_dataloader.sampler", f"{split}_dataloader.batch_sampler"]
    for path in sections:
        value = at(cfg, path)
        if isinstance(value, Mapping) and "type" not in value:
            yield f"{path}.type is missing: say which class it is"
    lists = ["custom_hooks", "param_scheduler", *(f"{split}_evaluator" for split in splits)]
    for key in lists:
        for place, part in parts_of(cfg.get(key), key):
            if part and "type" not in part and "metrics" not in part:
                yield f"{place}.type is missing: say which class it is"
    for name, hook in (cfg.get("default_hooks") or {}).items():
        if isinstance(hook, Mapping) and "type" not in hook:
            yield f"default_hooks.{name}.type is missing: say which class it is"


def _words(cfg: Mapping[str, Any]) -> Iterator[str]:
    for path, words in _WORDS.items():
        value = at(cfg, path)
        if value is not None and value not in words:
            hint = did_you_mean(str(value), words)
            yield f"{path}={value!r}: give one of {', '.join(words)}.{hint}"
    for path in _SWITCHES:
        value = at(cfg, path)
        if value is not None and not isinstance(value, bool):
            yield f"{path}={value!r}: True or False is expected"
    level = cfg.get("log_level")
    known = logging.getLevelNamesMapping() if hasattr(logging, "getLevelNamesMapping") else {}
    names = tuple(known) or ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "NOTSET", "WARN")
    if isinstance(level, str) and level.upper() not in names:
        yield f"log_level={level!r}: give one of {', '.join(names)}.{did_you_mean(level, names)}"
    work_dir = cfg.get("work_dir")
    if isinstance(work_dir, str):
        problem = work_dir_problem(work_dir)
        if problem:
            yield problem


def _numbers(cfg: Mapping[str, Any]) -> Iterator[str]:
    seed = at(cfg, "randomness.seed")
    if seed is not None and not (
        isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32
    ):
        yield f"randomness.seed={seed!r}: a whole number from 0 to 4294967295 is expected"


def _metrics(evaluator: Any, where: str) -> Iterator[str]:
    if isinstance(evaluator, (list, tuple)) and not evaluator:
        yield f"{where} is empty: nothing would be measured. Name a metric, or set it to None"
    for place, metric in parts_of(evaluator, where):
        name = bare_name(metric.get("type"))
        if name not in _METRICS:
            continue
        key, known = _METRICS[name]
        asked = metric.get(key)
        for word in [asked] if isinstance(asked, str) else asked or ():
            if word not in known:
                hint = did_you_mean(str(word), known)
                yield f"{place}.{key}={word!r}: {name} knows {', '.join(known)}.{hint}"


def _priorities(hooks: Any) -> Iterator[str]:
    known = (
        *("HIGHEST", "VERY_HIGH", "HIGH", "ABOVE_NORMAL", "NORMAL"),
        *("BELOW_NORMAL", "LOW", "VERY_LOW", "LOWEST"),
    )
    for path, hook in parts_of(hooks, "custom_hooks"):
        priority = hook.get("priority")
        place = f"{path}.priority={priority!r}"
        if isinstance(priority, str) and priority.upper() not in known:
            hint = did_you_mean(priority.upper(), known)
            yield f"{place}: give one of {', '.join(known)}, or 0 to 100.{hint}"
        elif isinstance(priority, int) and not 0 <= priority <= 100:
            yield f"{place}: a number from 0 (first) to 100 (last) is expected"


def _slide(options: Any) -> Iterator[str]:
    if not isinstance(options, Mapping) or options.get("mode") != "slide":
        return
    for key in ("crop_size", "stride"):
        if options.get(key) is None:
            yield f"model.test_cfg.{key} is missing: mode='slide' cuts images into windows"


def _is_registered_scope(scope: str) -> bool:
    from mmengine.registry import MODELS

    return scope == MODELS.scope or scope in MODELS.children
