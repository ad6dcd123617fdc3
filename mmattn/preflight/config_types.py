"""Look up every ``type=...`` of a config in the registry of its place, before the build."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmattn.config.problems import refuse
from mmattn.config.registry_scope import nearest_types
from mmattn.errors import did_you_mean

if TYPE_CHECKING:
    from mmengine.registry import Registry

#: Sections of every run, and the registries that their own ``type`` may come from.
_SECTIONS = {
    "model": "MODELS",
    "data_preprocessor": "MODELS",
    "visualizer": "VISUALIZERS",
    "log_processor": "LOG_PROCESSORS",
    "default_hooks": "HOOKS",
    "custom_hooks": "HOOKS",
}
#: Sections that only training reads.
_TRAINING = {"optim_wrapper": "OPTIM_WRAPPERS", "param_scheduler": "PARAM_SCHEDULERS"}
#: Sections of one split.
_SPLIT = {"dataloader": None, "evaluator": "METRICS EVALUATOR", "cfg": "LOOPS"}
#: Registries that a key inside a section settles.
_KEYS = {
    "dataset": "DATASETS",
    "datasets": "DATASETS",
    "pipeline": "TRANSFORMS",
    "sampler": "DATA_SAMPLERS",
    "batch_sampler": "DATA_SAMPLERS",
    "optimizer": "OPTIMIZERS",
    "vis_backends": "VISBACKENDS",
    "metrics": "METRICS",
}
#: Keys whose ``type`` is not a registered name: operators of mmcv, parts of other libraries.
_UNREGISTERED = frozenset({"nms", "roi_layer", "bbox_params"})


def check_types(cfg: Mapping[str, Any], splits: Sequence[str], filename: str | None = None) -> None:
    """Look up every type name in the sections that ``splits`` use.

    The config's scope must have been entered (``enter_scope``).

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: A name is not registered; the message has its key and the nearest names.
    """
    refuse(type_problems(cfg, splits), filename)


def type_problems(cfg: Mapping[str, Any], splits: Sequence[str]) -> list[str]:
    """List type names that are not registered; see ``check_types``."""
    scope = cfg.get("default_scope") or "mmengine"
    finder = _Finder(scope)
    problems = []
    sections = dict(_SECTIONS)
    if "train" in splits:
        sections.update(_TRAINING)
    for split in splits:
        sections.update({f"{split}_{name}": kinds for name, kinds in _SPLIT.items()})
    for section, kinds in sections.items():
        for place, name, expected, inner_scope in _types(cfg.get(section), section, kinds, scope):
            problem = finder.problem(place, name, expected, inner_scope)
            if problem:
                problems.append(problem)
    wrapper = cfg.get("optim_wrapper")
    constructor = wrapper.get("constructor") if isinstance(wrapper, Mapping) else None
    if "train" in splits and isinstance(constructor, str):
        kind = "OPTIM_WRAPPER_CONSTRUCTORS"
        problem = finder.problem("optim_wrapper.constructor", constructor, kind, scope)
        problems += [problem] if problem else []
    return problems


def _types(
    value: Any, place: str, kinds: str | None, scope: str
) -> Iterator[tuple[str, str, str | None, str]]:
    """Each type name below ``value``: (key, name, registries of this place, scope)."""
    if isinstance(value, Mapping):
        scope = value.get("_scope_") or scope
        name = value.get("type")
        if isinstance(name, str):
            yield f"{place}.type", name, kinds, scope
            if name.rpartition(".")[2] == "Albu":
                return  # the transforms inside are another library's
        for key, inner in value.items():
            if key not in _UNREGISTERED:
                # Hooks are listed by name: default_hooks.logger is a hook as well.
                named = kinds if place == "default_hooks" else None
                in_model = place.partition(".")[0].partition("[")[0] == "model"
                settled = None if in_model else _KEYS.get(key, named)
                yield from _types(inner, f"{place}.{key}", settled, scope)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _types(inner, f"{place}[{index}]", kinds, scope)


class _Finder:
    """Looks names up as mmengine would, without importing what a dotted name might mean."""

    def __init__(self, scope: str) -> None:
        from mmengine import registry

        self.scope = scope
        self._roots: dict[str, Registry] = {
            name: value for name, value in vars(registry).items() if _is_registry(value)
        }
        self._names: dict[tuple[str, str, bool], set[str]] = {}

    def problem(self, place: str, name: str, kinds: str | None, scope: str) -> str | None:
        """Return what is wrong unless ``name`` is registered where ``place`` looks for it."""
        package, dot, bare = name.rpartition(".")
        if dot and not _has_registry(package):
            return self._dotted_problem(place, name, package)
        # Lower-case names are switches of one class ("conv", "nms"), not registered ones.
        if not dot and name[:1].islower() and kinds is None:
            return None
        searched = kinds.split() if kinds else list(self._roots)
        if any(bare in self._registered(kind, package or scope, not dot) for kind in searched):
            return None
        kind = self._roots[searched[0] if kinds else "MODELS"].name
        what = kind.replace("_", " ") if kinds else "type"
        within = "" if dot else f" in scope {scope!r} or above it"
        return (
            f"{place}={name!r} is not a registered {what}{within}."
            f"{nearest_types(name, scope, kind)}"
        )

    def _dotted_problem(self, place: str, name: str, package: str) -> str | None:
        """Return what is wrong with a full Python path, whose package mmengine will import."""
        top = package.partition(".")[0]
        if importlib.util.find_spec(top) is not None:
            return None
        return (
            f"{place}={name!r}: the package {top!r} is not installed."
            f"{did_you_mean(top, ('mmdet', 'mmseg', 'mmattn', 'mmengine', 'mmcv'))}"
        )

    def _registered(self, kind: str, scope: str, with_parents: bool) -> set[str]:
        """Return the names of one registry that ``scope`` sees."""
        key = (kind, scope, with_parents)
        if key not in self._names:
            names: set[str] = set()
            registry = self._in_scope(self._roots[kind], scope)
            while registry is not None:
                registry.import_from_location()
                names.update(registry.module_dict)
                registry = registry.parent if with_parents else None
            self._names[key] = names
        return self._names[key]

    @staticmethod
    def _in_scope(root: Registry, scope: str) -> Registry:
        """Return the child of ``root`` that belongs to ``scope``; ``root`` where there is none."""
        if scope == root.scope:
            return root
        return root.children.get(scope, root)


def _has_registry(package: str) -> bool:
    """Return whether ``package.registry`` exists; its import adds its registries to the tree."""
    if "." in package or importlib.util.find_spec(package) is None:
        return False
    if importlib.util.find_spec(f"{package}.registry") is None:
        return False
    importlib.import_module(f"{package}.registry")
    return True


def _is_registry(value: Any) -> bool:
    from mmengine.registry import Registry

    return isinstance(value, Registry)
