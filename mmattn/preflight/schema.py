"""A JSON schema of configs, from the signatures of what is registered, for editors.

It refuses what the checks before a run refuse by the same rules (``config_types``,
``config_arguments``, ``signatures``), and no more: types that are not registered, arguments that a
class does not take or lacks, texts where numbers are expected. What these know beyond single
blocks, such as numbers of classes, a schema cannot say. Everything else in it is for completion.

A config that inherits (``_base_``) holds parts of blocks only, so that no block must have a type;
one that has is held to be whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from mmattn.config.read_keys import READ_KEYS
from mmattn.errors import ConfigError, did_you_mean

from .config_arguments import (
    IN_MODELS,
    NOT_BUILT,
    REGISTRY_OF_KEY,
    SETTINGS,
    arguments_of,
    class_of,
    loader_arguments,
    saves_checkpoints,
)
from .signatures import GIVEN, WHOLE, is_required, kind_of, names_a_place, parameters_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Packages with registries that a config may name.
PACKAGES = ("mmdet", "mmseg", "mmattn")
#: Registry -> keys of a block that the runner takes out before it is built.
_TAKEN = {
    "HOOKS": ("priority",),
    "PARAM_SCHEDULERS": ("convert_to_iter_based",),
    "OPTIM_WRAPPERS": ("constructor", "paramwise_cfg", "optimizer"),
    "LOOPS": ("by_epoch",),
}
#: Section -> registries of its blocks; a list may stand where ``True``.
_SECTIONS: dict[str, tuple[tuple[str, ...], bool]] = {
    "model": (IN_MODELS, False),
    "data_preprocessor": (IN_MODELS, False),
    "tta_model": (IN_MODELS, False),
    "optim_wrapper": (("OPTIM_WRAPPERS",), False),
    "param_scheduler": (("PARAM_SCHEDULERS",), True),
    "custom_hooks": (("HOOKS",), True),
    "visualizer": (("VISUALIZERS",), False),
    "log_processor": (("LOG_PROCESSORS",), False),
    "tta_pipeline": (("TRANSFORMS",), True),
    **{f"{split}_evaluator": (("METRICS", "EVALUATOR"), True) for split in ("val", "test")},
    **{f"{split}_cfg": (("LOOPS",), False) for split in ("train", "val", "test")},
}
#: What a text must not be: a number, a switch. Lists and dictionaries are left to the class.
_NO_TEXT = {
    "anyOf": [{"type": ["number", "boolean", "array", "object", "null"]}, {"const": "auto"}]
}
_ANYTHING: dict[str, Any] = {}
#: Marks of mmengine's such as ``_delete_`` and ``_scope_``.
_MARKS = {"^_.*_$": _ANYTHING}


def config_schema(scope: str) -> dict[str, Any]:
    """Return the schema of a whole config as plain data.

    Args:
        scope: The ``default_scope`` of the config, whose types need no prefix: mmdet, mmseg or
            mmattn.

    Raises:
        ConfigError: There is no such scope.
    """
    if scope not in PACKAGES:
        raise ConfigError(
            f"no scope is called {scope!r}; there are {', '.join(PACKAGES)}."
            f"{did_you_mean(scope, PACKAGES)}"
        )
    return _Schema(scope).whole()


class _Schema:
    """Collects the definitions that the blocks of a config refer to."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.definitions: dict[str, Any] = {}

    def whole(self) -> dict[str, Any]:
        """Return the schema."""
        properties: dict[str, Any] = dict.fromkeys(sorted(READ_KEYS), _ANYTHING)
        for section, (registries, listed) in _SECTIONS.items():
            properties[section] = self._blocks(registries) if listed else self._block(registries)
        for split in ("train", "val", "test"):
            properties[f"{split}_dataloader"] = self._loader()
        properties["default_hooks"] = {
            "type": ["object", "null"],
            "properties": dict.fromkeys(SETTINGS["default_hooks"], self._block(("HOOKS",))),
            "additionalProperties": self._block(("HOOKS",)),
        }
        for section in ("randomness", "auto_scale_lr", "env_cfg"):
            properties[section] = {
                "type": ["object", "null"],
                "properties": dict.fromkeys(SETTINGS[section], _ANYTHING),
                "patternProperties": _MARKS,
                "additionalProperties": section != "randomness",
            }
        properties["default_scope"] = {"const": self.scope}
        properties["_base_"] = {"type": ["string", "array"]}
        return {
            "$schema": DIALECT,
            "title": f"config of the scope {self.scope}",
            "type": "object",
            "properties": properties,
            "$defs": dict(sorted(self.definitions.items())),
        }

    def _loader(self) -> dict[str, Any]:
        known: dict[str, Any] = dict.fromkeys(sorted(loader_arguments()), _ANYTHING)
        for name in ("dataset", "sampler", "batch_sampler"):
            known[name] = self._block((REGISTRY_OF_KEY[name],))
        return {
            "type": ["object", "null"],
            "properties": known,
            "patternProperties": _MARKS,
            "additionalProperties": False,
        }

    def _blocks(self, registries: tuple[str, ...]) -> dict[str, Any]:
        """Refer to a block, or a list of blocks or of such lists."""
        name = f"{'/'.join(registries)} or a list"
        if name not in self.definitions:
            self.definitions[name] = {}  # it refers to itself
            self.definitions[name].update(
                {
                    "if": {"type": "array"},
                    "then": {"items": _reference(name)},
                    "else": self._block(registries),
                }
            )
        return _reference(name)

    def _block(self, registries: tuple[str, ...]) -> dict[str, Any]:
        """Refer to a block that one of some registries builds."""
        name = "/".join(registries)
        if name not in self.definitions:
            block: dict[str, Any] = {"type": ["object", "null"]}
            self.definitions[name] = block
            types = self._types(registries)
            known = sorted(name for names, _ in types.values() for name in names)
            # A Python path is imported; parts of models may be of other registries.
            other = {"type": "string"} if registries == IN_MODELS else {"pattern": r"\..+\."}
            block["properties"] = {"type": {"anyOf": [{"enum": known}, other]}}
            if "OPTIM_WRAPPERS" in registries:
                block["properties"]["optimizer"] = self._block(("OPTIMIZERS",))
            block["allOf"] = [
                {
                    "if": {"properties": {"type": {"enum": names}}, "required": ["type"]},
                    "then": self._class(found, registries),
                }
                for names, found in types.values()
            ]
        return _reference(name)

    def _types(self, registries: Iterable[str]) -> dict[int, tuple[list[str], Any]]:
        """Return the classes of registries with the names under which the scope finds them."""
        types: dict[int, tuple[list[str], Any]] = {}
        for name in sorted(_registered_names(registries, self.scope)):
            found = class_of(name, tuple(registries), self.scope)
            if found is not None:
                types.setdefault(id(found), ([], found))[0].append(name)
        return types

    def _class(self, found: Any, registries: tuple[str, ...]) -> dict[str, Any]:
        """Refer to the arguments of a class."""
        place = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', str(found))}"
        name = f"{'/'.join(registries)}: {place}"
        if name not in self.definitions:
            self.definitions[name] = {}  # a wrapper holds what it is itself
            self.definitions[name].update(self._arguments(found, registries))
        return _reference(name)

    def _arguments(self, found: Any, registries: tuple[str, ...]) -> dict[str, Any]:
        known, open_ended = arguments_of(found)
        strict = registries != IN_MODELS and (not open_ended or saves_checkpoints(found))
        parameters = parameters_of(found)
        properties: dict[str, Any] = {"type": _ANYTHING}
        for name in known:
            properties[name] = self._argument(name, parameters.get(name), registries, found)
        for registry in registries:
            for name in _TAKEN.get(registry, ()):
                properties.setdefault(name, _ANYTHING)
        schema: dict[str, Any] = {
            "properties": dict(sorted(properties.items())),
            "patternProperties": _MARKS,
        }
        summary = (inspect.getdoc(found) or "").partition("\n")[0]
        if summary:
            schema["description"] = summary
        if strict:
            schema["additionalProperties"] = False
        elif registries == IN_MODELS:
            schema["patternProperties"] = {**_MARKS, "_cfg$": _ANYTHING}
            schema["additionalProperties"] = self._blocks_or_values()
        if registries[0] in WHOLE:
            needed = [n for n, p in parameters.items() if n not in GIVEN and is_required(p)]
            if needed:
                schema["required"] = needed
        return schema

    def _argument(
        self,
        name: str,
        parameter: inspect.Parameter | None,
        registries: tuple[str, ...],
        found: Any,
    ) -> dict[str, Any]:
        """Return what an argument may be."""
        in_models = registries == IN_MODELS
        transparent = getattr(found, "__name__", "") != "Albu"  # another library's transforms
        if name in REGISTRY_OF_KEY and not in_models and transparent:
            schema = dict(self._blocks_or_values((REGISTRY_OF_KEY[name],)))
        elif in_models and not (name in NOT_BUILT or name.endswith("_cfg")):
            schema = dict(self._blocks_or_values())
        else:
            schema = {}
        if parameter is None:
            return schema
        kind = kind_of(parameter)
        if kind in ("number", "switch"):
            self.definitions["no text"] = _NO_TEXT
            schema["allOf"] = [_reference("no text")]
        elif kind == "text" and names_a_place(name):
            schema |= {"type": ["string", "null"]}
        said = _written(parameter)
        if said:
            schema["description"] = said
        if _is_plain(parameter.default):
            schema["default"] = parameter.default
        return schema

    def _blocks_or_values(self, registries: tuple[str, ...] = IN_MODELS) -> dict[str, Any]:
        """Refer to what may be a block, a list of them, or a plain value."""
        name = f"{'/'.join(registries)} or a value"
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name].update(
                {
                    "if": {"type": "array"},
                    "then": {"items": _reference(name)},
                    "else": {"if": {"type": "object"}, "then": self._block(registries)},
                }
            )
        return _reference(name)


def _reference(name: str) -> dict[str, Any]:
    # A JSON pointer in the fragment of an address.
    escaped = name.replace("~", "~0").replace("/", "~1").replace(" ", "%20")
    return {"$ref": f"#/$defs/{escaped}"}


def _registered_names(registries: Iterable[str], scope: str) -> set[str]:
    """Return the names that a scope sees, and with their prefix those of all packages."""
    from mmengine import registry as roots

    for package in PACKAGES:
        import_module(f"{package}.registry")  # which adds its registries to mmengine's
    names: set[str] = set()
    for name in registries:
        root = getattr(roots, name)
        for package, child in [("mmengine", root), *root.children.items()]:
            child.import_from_location()
            names |= {f"{package}.{found}" for found in child.module_dict}
            if package in (scope, "mmengine"):
                names |= set(child.module_dict)
    return names


def _written(parameter: inspect.Parameter) -> str:
    """Return annotation and default as they are written in Python."""
    parts = []
    if parameter.annotation is not parameter.empty:
        said = parameter.annotation
        parts.append(said if isinstance(said, str) else inspect.formatannotation(said))
    if parameter.default is not parameter.empty:
        default = repr(parameter.default)
        parts.append(f"= {default}" if len(default) <= 200 else "= ...")
    return " ".join(parts)


def _is_plain(value: Any) -> bool:
    """Return whether a default is JSON as well."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, float):
        return value - value == 0  # JSON has no infinity
    return value is None or isinstance(value, (bool, int, str))
