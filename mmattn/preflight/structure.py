"""What a run is made of: sections that belong together, types, pipelines, schedules, words."""

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

from .numbers import is_number, is_share

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
#: Whether a training counts epochs -> the key of its length.
_LENGTH = {True: "max_epochs", False: "max_iters"}
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
_LOADER_SWITCHES = ("persistent_workers", "drop_last", "pin_memory")
_PARAMWISE = (
    *("custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult"),
    *("dcn_offset_lr_mult", "bypass_duplicate", "flat_decay_mult"),
)
_CLIP = (
    *("type", "max_norm", "norm_type", "error_if_nonfinite", "foreach", "clip_value"),
    *("parameters", "max_value"),
)
#: Metric -> names that it may be asked for.
_METRICS = {
    "IoUMetric": ("iou_metrics", ("mIoU", "mDice", "mFscore")),
    "CocoMetric": ("metric", ("bbox", "segm", "proposal", "proposal_fast", "boundary")),
    "ClasswiseCocoMetric": ("metric", ("bbox", "segm", "proposal", "proposal_fast", "boundary")),
}
#: Metric -> names of its values that a best checkpoint is chosen by.
_VALUES = {
    "IoUMetric": (*("aAcc", "mIoU", "mAcc", "mDice", "mFscore", "mPrecision", "mRecall"),),
    "CocoMetric": tuple(
        f"coco/{kind}_mAP{end}"
        for kind in ("bbox", "segm", "boundary")
        for end in ("", "_50", "_75", "_s", "_m", "_l")
    ),
}
_PACKAGES = ("mmcv", "mmdet", "mmseg", "mmattn", "mmengine")


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
            problems += _loader(loader, f"{split}_dataloader", whole)
        problems += _metrics(cfg.get(f"{split}_evaluator"), f"{split}_evaluator")
    if "train" in splits:
        problems += [*_optimizer(cfg.get("optim_wrapper")), *_best(cfg)]
        for place, schedule in parts_of(cfg.get("param_scheduler"), "param_scheduler"):
            problems += _schedule(schedule, place)
    problems += _priorities(cfg.get("custom_hooks"))
    problems += _slide(at(cfg, "model.test_cfg"))
    return list(dict.fromkeys(problems))


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
        if split == "train" and isinstance(loop, Mapping):
            yield from _length(loop, name)


def _length(loop: Mapping[str, Any], name: str) -> Iterator[str]:
    by_epoch, length = _steps(loop)
    if name in ("", "EpochBasedTrainLoop", "IterBasedTrainLoop") and length is None:
        yield f"train_cfg.{_LENGTH[by_epoch]} is missing: say how long to train"


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


def _loader(loader: Mapping[str, Any], where: str, whole: bool) -> Iterator[str]:
    for key in _LOADER_SWITCHES:
        value = loader.get(key)
        if value is not None and not isinstance(value, bool):
            yield f"{where}.{key}={value!r}: True or False is expected"
    workers = loader.get("num_workers")
    if isinstance(workers, int) and workers > 1024:
        yield f"{where}.num_workers={workers} processes: no machine runs as many"
    if "dataset" not in loader or loader["dataset"] is None:
        yield f"{where}.dataset is missing: say which data to read"
        return
    yield from _dataset(loader["dataset"], f"{where}.dataset", (), whole)


def _dataset(dataset: Any, where: str, outer: Sequence[Any], whole: bool) -> Iterator[str]:
    """Judge a dataset and those inside of wrappers, whose pipelines follow each other."""
    if not isinstance(dataset, Mapping):
        return
    if "type" not in dataset:
        yield f"{where}.type is missing: say which dataset it is"
        return
    steps = dataset.get("pipeline")
    steps = list(steps) if isinstance(steps, (list, tuple)) else []
    metainfo = dataset.get("metainfo")
    if metainfo is not None and not isinstance(metainfo, Mapping):
        yield f"{where}.metainfo={metainfo!r:.60} must be a dict, such as dict(classes=('a', 'b'))"
    else:
        yield from _classes((metainfo or {}).get("classes"), f"{where}.metainfo.classes")
    for key in ("data_prefix", "filter_cfg"):
        value = dataset.get(key)
        if value is not None and not isinstance(value, Mapping):
            yield f"{where}.{key}={value!r:.60} must be a dict"
    inner = dataset.get("datasets")
    if isinstance(inner, (list, tuple)):
        if not inner:
            yield f"{where}.datasets is empty: name the datasets that are joined"
        for index, one in enumerate(inner):
            yield from _dataset(one, f"{where}.datasets[{index}]", [*steps, *outer], whole)
    elif isinstance(dataset.get("dataset"), Mapping):
        yield from _dataset(dataset["dataset"], f"{where}.dataset", [*steps, *outer], whole)
    else:
        yield from _pipeline([*steps, *outer], steps, f"{where}.pipeline", whole)


def _classes(classes: Any, where: str) -> Iterator[str]:
    if classes is None or isinstance(classes, str):
        return  # a file of names; a name is told when the dataset is looked at
    if not isinstance(classes, (list, tuple)):
        yield f"{where}={classes!r}: a list of names is expected"
        return
    wrong = [name for name in classes if not isinstance(name, str)]
    if wrong:
        yield f"{where}: {wrong[0]!r} is not a text: write the names of the classes in quotes"
    twice = sorted({n for n in classes if isinstance(n, str) and list(classes).count(n) > 1})
    if twice:
        yield f"{where} has {twice[0]!r} twice: each class has a name of its own"


def _pipeline(steps: Sequence[Any], own: Sequence[Any], where: str, whole: bool) -> Iterator[str]:
    if not steps:
        yield f"{where} is empty: nothing would load the images. Write pipeline=[dict(type=...)]"
        return
    for index, step in enumerate(own):
        if isinstance(step, Mapping) and "type" not in step:
            yield f"{where}[{index}].type is missing: say which transform it is"
    names = [bare_name(step.get("type")) for step in steps if isinstance(step, Mapping)]
    inside = {
        bare_name(value.get("type"))
        for step in steps
        for _, value in walk(step)
        if isinstance(value, Mapping) and isinstance(value.get("type"), (str, type))
    }
    if not all(map(_is_upstream, steps)):
        return  # a transform of the user's own may do anything
    if not any(map(_loads_images, inside)):
        yield f"{where} loads nothing: begin with dict(type='LoadImageFromFile')"
    elif _starts_late(names):
        yield (
            f"{where}[0] ({names[0]}) comes before LoadImageFromFile, which loads the image that "
            "it changes: put that first"
        )
    packed = any(word in name for name in inside for word in ("Pack", "Collect", "Format"))
    if whole and not packed:
        yield (
            f"{where} packs nothing: end with dict(type='PackDetInputs') or "
            "dict(type='PackSegInputs'), which make what the model takes"
        )


def _loads_images(name: str) -> bool:
    truth = any(word in name for word in ("Annotation", "Proposal", "Mask", "TrackAnn"))
    return (name.startswith("Load") and not truth) or "Loader" in name


def _starts_late(names: Sequence[str]) -> bool:
    changes = ("Random", "Resize", "Pad", "PhotoMetric", "Normalize", "Pack", "Flip")
    return "LoadImageFromFile" in names[1:] and names[0].startswith(changes)


def _is_upstream(step: Any) -> bool:
    """Return whether a step is a transform of the packages known here."""
    from mmengine.registry import TRANSFORMS

    if not isinstance(step, Mapping) or not isinstance(step.get("type"), (str, type)):
        return False
    cls = step["type"]
    if isinstance(cls, str):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            cls = registry.get(cls) if cls else None
    return str(getattr(cls, "__module__", "")).partition(".")[0] in _PACKAGES


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


def _optimizer(wrapper: Any) -> Iterator[str]:
    if not isinstance(wrapper, Mapping):
        return
    optimizer = wrapper.get("optimizer")
    name = bare_name(wrapper.get("type", "OptimWrapper"))
    if optimizer is None and name in ("OptimWrapper", "AmpOptimWrapper"):
        yield "optim_wrapper.optimizer is missing: write optimizer=dict(type='SGD', lr=0.01)"
    if isinstance(optimizer, Mapping):
        yield from _optimizer_numbers(optimizer)
    clip = wrapper.get("clip_grad")
    if clip is not None and not isinstance(clip, Mapping):
        yield f"optim_wrapper.clip_grad={clip!r} must be a dict, such as dict(max_norm=10)"
    for key in clip if isinstance(clip, Mapping) else ():
        if key not in _CLIP:
            yield (
                f"optim_wrapper.clip_grad.{key}: unexpected argument {key!r} for clip_grad."
                f"{did_you_mean(key, _CLIP)}"
            )
    yield from _paramwise(wrapper)


def _optimizer_numbers(optimizer: Mapping[str, Any]) -> Iterator[str]:
    where = "optim_wrapper.optimizer"
    lr = optimizer.get("lr")
    if "lr" in optimizer and lr is None:
        yield f"{where}.lr=None: a number above 0 is expected"
    momentum = optimizer.get("momentum")
    if momentum is not None and not (is_number(momentum) and 0 <= momentum < 1):
        yield f"{where}.momentum={momentum!r}: a number from 0 to below 1 is expected"
    eps = optimizer.get("eps")
    if eps is not None and not isinstance(eps, (tuple, list)) and not is_share(eps):
        yield f"{where}.eps={eps!r}: a number from 0 to 1 is expected"
    betas = optimizer.get("betas")
    if betas is None:
        return
    pair = isinstance(betas, (list, tuple)) and len(betas) >= 2
    if not pair or not all(is_number(beta) and 0 <= beta < 1 for beta in betas):
        yield f"{where}.betas={betas!r}: two numbers from 0 to below 1 are expected"


def _paramwise(wrapper: Mapping[str, Any]) -> Iterator[str]:
    options, where = wrapper.get("paramwise_cfg"), "optim_wrapper.paramwise_cfg"
    if options is None:
        return
    if not isinstance(options, Mapping):
        yield f"{where}={options!r} must be a dict, such as dict(norm_decay_mult=0.0)"
        return
    plain = wrapper.get("constructor") in (None, "DefaultOptimWrapperConstructor")
    for key, value in options.items():
        if plain and key not in _PARAMWISE:
            yield (
                f"{where}.{key}: unexpected argument {key!r} for DefaultOptimWrapperConstructor."
                f"{did_you_mean(str(key), _PARAMWISE)}"
            )
        elif str(key).endswith("_mult") and not (is_number(value) and value >= 0):
            yield f"{where}.{key}={value!r}: a number of at least 0 is expected"
    keys = options.get("custom_keys")
    if keys is not None and not isinstance(keys, Mapping):
        yield f"{where}.custom_keys={keys!r:.60} must be a dict of names and dicts"
    for name, inner in keys.items() if isinstance(keys, Mapping) else ():
        for key, value in inner.items() if isinstance(inner, Mapping) else ():
            if key in ("lr_mult", "decay_mult") and not (is_number(value) and value >= 0):
                yield (
                    f"{where}.custom_keys[{name!r}].{key}={value!r}: a number of at least 0 is "
                    "expected"
                )


def late_schedules(cfg: Mapping[str, Any]) -> list[str]:
    """Return schedules that begin behind the end of the training, as one that is cut short has."""
    loop = cfg.get("train_cfg")
    by_epoch, length = _steps(loop if isinstance(loop, Mapping) else {})
    found = []
    for place, one in parts_of(cfg.get("param_scheduler"), "param_scheduler"):
        if one.get("by_epoch", True) != by_epoch:
            continue
        begin = one.get("begin", 0)
        if is_number(length) and is_number(begin) and begin >= length > 0:
            found.append(
                f"{place}.begin={begin}, but the training ends at {length}: it does nothing"
            )
    return found


def _steps(loop: Mapping[str, Any]) -> tuple[bool, Any]:
    """Return whether a training counts epochs, and how many of its units there are."""
    name = bare_name(loop.get("type"))
    by_epoch = bool(name == "EpochBasedTrainLoop" or (not name and loop.get("by_epoch", True)))
    return by_epoch, loop.get(_LENGTH[by_epoch])


def _schedule(one: Mapping[str, Any], place: str) -> Iterator[str]:
    begin, end = one.get("begin", 0), one.get("end", float("inf"))
    for key, value in (("begin", begin), ("end", end)):
        if not is_number(value) and value != float("inf"):
            yield f"{place}.{key}={value!r} is not a number: a whole number from 0 on is expected"
        elif value < 0:
            yield f"{place}.{key}={value}: a whole number from 0 on is expected"
    if is_number(begin) and isinstance(end, (int, float)) and end <= begin:
        yield f"{place}.end={end} is not behind begin={begin}: the schedule would do nothing"
    switch = one.get("by_epoch")
    if switch is not None and not isinstance(switch, bool):
        yield f"{place}.by_epoch={switch!r}: True or False is expected"
    if "milestones" in one:
        stones = one["milestones"]
        whole = isinstance(stones, (list, tuple)) and all(
            is_number(s) and s == int(s) and s >= 0 for s in stones
        )
        if not whole or not stones:
            yield f"{place}.milestones={stones!r:.60}: whole numbers from 0 on are expected"
    for key in ("T_max", "step_size"):
        value = one.get(key)
        if value is not None and not (is_number(value) and value >= 1):
            yield f"{place}.{key}={value!r}: a whole number from 1 on is expected"
    gamma = one.get("gamma")
    if is_number(gamma) and gamma < 0:
        yield f"{place}.gamma={gamma}: a number of at least 0 is expected"
    factor = one.get("start_factor")
    if factor is not None and not (is_number(factor) and 0 < factor <= 1):
        yield f"{place}.start_factor={factor!r}: a number above 0, at most 1, is expected"


def _best(cfg: Mapping[str, Any]) -> Iterator[str]:
    """Judge what the best checkpoint is chosen by."""
    hook = at(cfg, "default_hooks.checkpoint")
    if not isinstance(hook, Mapping):
        return
    where = "default_hooks.checkpoint"
    rules = hook.get("rule")
    for rule in [rules] if isinstance(rules, str) else rules or ():
        if rule not in ("greater", "less", None):
            yield f"{where}.rule={rule!r}: give 'greater' or 'less'"
    best = hook.get("save_best")
    if best is None:
        return
    if not isinstance(best, (str, list, tuple)):
        yield f"{where}.save_best={best!r}: the name of a metric is expected, or 'auto'"
        return
    if cfg.get("val_evaluator") is None:
        yield (
            f"{where}.save_best={best!r}, but there is no validation (val_evaluator) to choose by: "
            f"set {where}.save_best=None"
        )
        return
    known = _values_of(cfg["val_evaluator"])
    for name in [best] if isinstance(best, str) else best:
        if known is None or not isinstance(name, str) or name in known or name == "auto":
            continue
        near = did_you_mean(name, known)
        foreign = known[0].partition("/")[0] != name.partition("/")[0] and "loss" not in name
        if near or (foreign and "/" in known[0]):
            shown = ", ".join(known[:4])
            yield f"{where}.save_best={name!r}: the metric has {shown}, ...{near}"


def _values_of(evaluator: Any) -> Sequence[str] | None:
    """Return the names of the values of an evaluator; None where they are not known."""
    items = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    names: list[str] = []
    for metric in items:
        if not isinstance(metric, Mapping) or metric.get("prefix") is not None:
            return None
        values = _VALUES.get(bare_name(metric.get("type")))
        if values is None:
            return None
        names += values
    return names


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
