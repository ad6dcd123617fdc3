"""Find arguments that the class of a config's ``type`` does not take, before anything is built.

The build would find them too, but one at a time, late, and without the path in the config.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmattn.config.image_size import size_problems
from mmattn.errors import did_you_mean
from mmattn.type_names import bare_name

from .slips import is_slip

if TYPE_CHECKING:
    from mmengine.registry import Registry

#: Section, with the registry that builds it and what the runner takes out of it before.
_SECTIONS = {
    "data_preprocessor": ("MODELS", ()),
    "visualizer": ("VISUALIZERS", ()),
    "log_processor": ("LOG_PROCESSORS", ()),
    "custom_hooks": ("HOOKS", ("priority",)),
    "default_hooks": ("HOOKS", ("priority",)),
    "model": ("MODELS", ()),
}
_TRAINING = {
    "optim_wrapper": ("OPTIM_WRAPPERS", ("constructor", "paramwise_cfg", "optimizer")),
    "param_scheduler": ("PARAM_SCHEDULERS", ("convert_to_iter_based",)),
}
_SPLIT = {
    "dataloader": ("", ()),
    "evaluator": ("METRICS", ()),
    "cfg": ("LOOPS", ()),
}
#: Registry of what is under a key inside of a section.
REGISTRY_OF_KEY = {
    "dataset": "DATASETS",
    "datasets": "DATASETS",
    "pipeline": "TRANSFORMS",
    "transforms": "TRANSFORMS",
    "sampler": "DATA_SAMPLERS",
    "batch_sampler": "DATA_SAMPLERS",
    "optimizer": "OPTIMIZERS",
    "vis_backends": "VISBACKENDS",
    "metrics": "METRICS",
}
#: Parts of models that other registries than that of the models build.
IN_MODELS = ("MODELS", "TASK_UTILS")
#: What is built by functions of their own, which take arguments out first.
NOT_BUILT = frozenset(
    {"cfg", "nms", "roi_layer", "bbox_params", "train_cfg", "test_cfg", "optimizer"}
)
#: Settings of the runner that have no class.
SETTINGS = {
    "randomness": ("seed", "diff_rank_seed", "deterministic"),
    "auto_scale_lr": ("enable", "base_batch_size"),
    "env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
    "default_hooks": (
        *("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler"),
        *("checkpoint", "visualization"),
    ),
}
_LOADER = (
    *("dataset", "sampler", "batch_sampler", "batch_size", "collate_fn", "worker_init_fn"),
    *("num_batch_per_epoch", "disable_subprocess_warning"),
)


def argument_problems(cfg: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """List arguments that the classes of a config do not take, and sizes that are none.

    The config's scope must have been entered (``enter_scope``). A class that hands on what it does
    not know (``**kwargs``) is checked for slips of its arguments alone.

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.

    Returns:
        Problems, each a sentence that begins with the key.
    """
    scope = cfg.get("default_scope") or "mmengine"
    problems: list[str] = []
    for section, (registry, taken) in _sections(splits).items():
        value = cfg.get(section)
        if section.endswith("_dataloader") and isinstance(value, Mapping):
            problems += _unknown(value, section, loader_arguments(), "a dataloader", strict=True)
        elif section.endswith("_cfg") and isinstance(value, Mapping) and "type" not in value:
            taken = ("by_epoch",)
        value = _with_type(section, value)
        for place, block, registries, inner_scope in typed_blocks(value, section, registry, scope):
            found = class_of(block["type"], registries, inner_scope)
            if found is not None:
                extra = taken if place == section or section in _SECTIONS else ()
                if section == "param_scheduler":
                    extra = taken
                known, open_ended = arguments_of(found)
                if "runner_type" not in cfg and saves_checkpoints(found):
                    open_ended = False
                title = getattr(found, "__name__", str(found))
                # Inside of a part of a model, that part may take arguments out before the build.
                strict = not open_ended and not (section == "model" and place.count(".") > 1)
                problems += _unknown(block, place, {*known, *extra}, title, strict=strict)
                if registries == ("TRANSFORMS",):
                    problems += size_problems(place, block)
    for section, known in SETTINGS.items():
        if isinstance(cfg.get(section), Mapping):
            problems += _unknown(
                cfg[section], section, known, section, strict=section == "randomness"
            )
    return problems


def sections_of(cfg: Mapping[str, Any], splits: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield the sections of a run: name, registry (empty for loaders) and settings with a type."""
    for section, (registry, _) in _sections(splits).items():
        value = cfg.get(section)
        if value is not None:
            yield section, registry, _with_type(section, value)


def _sections(splits: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    sections: dict[str, tuple[str, tuple[str, ...]]] = dict(_SECTIONS)
    if "train" in splits:
        sections.update(_TRAINING)
    for split in splits:
        sections.update({f"{split}_{name}": value for name, value in _SPLIT.items()})
    return sections


def _with_type(section: str, value: Any) -> Any:
    """Return a section with the type that the runner gives it."""
    if not isinstance(value, Mapping):
        return value
    if section.endswith("_cfg") and "type" not in value:
        return {"type": _loop_of(section, value), **value}
    return {"type": "OptimWrapper", **value} if section == "optim_wrapper" else value


def _unknown(
    block: Mapping[str, Any], place: str, known: Iterable[str], title: str, *, strict: bool
) -> Iterator[str]:
    known = set(known)
    for key in block:
        if not isinstance(key, str) or key in known or key.startswith("_") or key == "type":
            continue
        slips = sorted(other for other in known if is_slip(key, other))
        if not strict and not slips:
            continue
        hint = f" Did you mean {slips[0]!r}?" if slips else did_you_mean(key, known)
        yield f"{place}.{key}: unexpected argument {key!r} for {title}.{hint}"


def typed_blocks(
    value: Any, place: str, registry: str, scope: str
) -> Iterator[tuple[str, Mapping[str, Any], tuple[str, ...], str]]:
    """Yield the blocks with a type whose registry is known: (key, block, registries, scope)."""
    if isinstance(value, Mapping):
        scope = value.get("_scope_") or scope
        in_model = place.partition(".")[0].partition("[")[0] in ("model", "data_preprocessor")
        if isinstance(value.get("type"), str):
            name = bare_name(value["type"])
            if registry:
                yield place, value, IN_MODELS if in_model else (registry,), scope
            if name == "Albu":
                return  # the transforms inside are another library's
        for key, inner in value.items():
            if key == "optimizer" and place == "optim_wrapper":
                yield from typed_blocks(inner, f"{place}.{key}", "OPTIMIZERS", scope)
            elif key in NOT_BUILT or (isinstance(key, str) and key.endswith("_cfg")):
                continue
            elif in_model:
                yield from typed_blocks(inner, f"{place}.{key}", registry, scope)
            else:
                settled = registry if place in ("default_hooks",) else ""
                yield from typed_blocks(
                    inner, f"{place}.{key}", REGISTRY_OF_KEY.get(key, settled), scope
                )
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from typed_blocks(inner, f"{place}[{index}]", registry, scope)


def class_of(type_name: str, registries: Sequence[str], scope: str) -> Any:
    """Return what is registered under a name; None where that is not plain."""
    from mmengine import registry as roots

    package, dot, bare = type_name.rpartition(".")
    found = []
    for name in registries:
        registry: Registry | None = getattr(roots, name)
        wanted = package or scope
        registry = registry.children.get(wanted, registry)  # type: ignore[union-attr]
        while registry is not None:
            registry.import_from_location()
            if bare in registry.module_dict:
                found.append(registry.module_dict[bare])
                break
            registry = registry.parent if not dot else None
    return found[0] if len(found) == 1 else None


def arguments_of(found: Any) -> tuple[set[str], bool]:
    """Return the arguments of a class or function, and whether it takes others as well."""
    if not inspect.isclass(found):
        return _parameters(found)
    known: set[str] = set()
    for base in found.__mro__:
        init = vars(base).get("__init__")
        if init is None:
            continue
        names, open_ended = _parameters(init)
        known |= names
        if not open_ended:
            return known, base is not _first_init(found)
    return known, True


def _first_init(cls: type) -> type:
    return next(base for base in cls.__mro__ if "__init__" in vars(base))


def saves_checkpoints(found: Any) -> bool:
    """Return whether ``found`` is mmengine's CheckpointHook or derived from it.

    It keeps unknown arguments for ``Runner.save_checkpoint``, which takes none of them: a TypeError
    when the first checkpoint is due, hours into a training. Another runner may take more.
    """
    from mmengine.hooks import CheckpointHook

    return inspect.isclass(found) and issubclass(found, CheckpointHook)


def _parameters(function: Any) -> tuple[set[str], bool]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return set(), True
    open_ended = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    return {p.name for p in parameters} - {"self", "args", "kwargs"}, open_ended


def loader_arguments() -> set[str]:
    from torch.utils.data import DataLoader

    return {*_LOADER, *_parameters(DataLoader.__init__)[0]}


def _loop_of(section: str, cfg: Mapping[str, Any]) -> str:
    if section != "train_cfg":
        return {"val_cfg": "ValLoop", "test_cfg": "TestLoop"}[section]
    return "EpochBasedTrainLoop" if cfg.get("by_epoch", True) else "IterBasedTrainLoop"
