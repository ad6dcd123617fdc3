"""The registry scope that a config is meant for, and typed errors for unregistered names."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mmengine.config import Config

_KNOWN_SCOPES = ("mmdet", "mmseg", "mmattn")
# mmengine's words: "X is not in the mmdet::model registry", for some kinds without the scope.
_NOT_FOUND = re.compile(
    r"(?P<name>[\w.]+) is not in the (?:(?P<scope>\w+)::)?(?P<kind>[\w ]+) registry"
)


def enter_scope(cfg: Config) -> str:
    """Make the scope of ``cfg`` the default one and register everything of its package.

    Returns:
        The scope: ``default_scope`` of the config, or mmengine's own.
    """
    from mmengine.registry import init_default_scope

    scope = cfg.get("default_scope") or "mmengine"
    if scope in ("mmdet", "mmseg"):
        import_module(f"{scope}.utils").register_all_modules(init_default_scope=False)
    init_default_scope(scope)
    return scope


# Python's words for a key that a class does not know.
_UNKNOWN_ARGUMENT = re.compile(
    r"(?P<cls>\w+)(?P<init>\.__init__)?\(\) got an unexpected keyword argument '(?P<key>\w+)'"
)


@contextmanager
def explain_registry_errors(filename: str | None = None) -> Iterator[None]:
    """Turn mmengine's "is not in the registry" into a ConfigError that offers the nearest names.

    A key that a part does not take becomes one as well, and every ConfigError names the config.

    The names of all scopes are searched, since a forgotten prefix (``CCHead`` for
    ``mmattn.CCHead``) is as common a mistake as a misspelt name.
    """
    try:
        yield
    except ConfigError as error:
        if not filename or filename in str(error):
            raise
        raise ConfigError(f"{filename}: {error}") from error
    except TypeError as error:
        unknown = _UNKNOWN_ARGUMENT.search(str(error))
        known = _arguments(unknown["cls"]) if unknown else set()
        # Any function may be called wrongly, by code; by a config, only a registered one.
        if unknown is None or not (unknown["init"] or known):
            raise
        raise ConfigError(
            f"{f'{filename}: ' if filename else ''}{unknown['cls']} takes no {unknown['key']!r}."
            f"{did_you_mean(unknown['key'], known)}"
        ) from error
    except (KeyError, ImportError) as error:
        found = _NOT_FOUND.search(str(error))
        if found is None:
            raise
        name, kind, scope = found["name"], found["kind"], found["scope"] or "mmengine"
        where = f"{filename}: " if filename else ""
        raise ConfigError(
            f"{where}type={name!r} is no registered {kind} in scope {scope!r} or above it."
            f"{nearest_types(name, scope, kind)}"
        ) from error


def _arguments(class_name: str) -> set[str]:
    """Arguments of the registered function, or classes, of that name and of those derived from it.

    The name is the base's that refused the key: ``CCHead`` hands what it does not know upwards.
    """
    from mmengine.registry import MODELS

    names: set[str] = set()
    for registry in (MODELS, *MODELS.children.values()):
        for kind in registry.module_dict.values():
            if isinstance(kind, FunctionType) and kind.__name__ == class_name:
                names.update(inspect.signature(kind).parameters)
            lineage = getattr(kind, "__mro__", ())
            if any(base.__name__ == class_name for base in lineage):
                for base in lineage:
                    if isinstance(base.__init__, FunctionType):
                        names.update(inspect.signature(base.__init__).parameters)
    return names - {"self", "args", "kwargs"}


def nearest_types(name: str, scope: str, kind: str) -> str:
    """A did-you-mean over this kind's registries of all scopes, spelled as ``scope`` writes it."""
    prefix, _, bare = name.rpartition(".")
    spelled: dict[str, list[str]] = {}
    for other in dict.fromkeys((scope, *_KNOWN_SCOPES, "mmengine")):
        for registry in _registries(other):
            if registry.name.replace("_", " ") != kind.replace("_", " ") or registry.scope != other:
                continue
            registry.import_from_location()
            for key in registry.module_dict:
                spelling = key if other in (scope, "mmengine") else f"{other}.{key}"
                spelled.setdefault(key, []).append(spelling)
    if bare in spelled:
        return " Did you mean " + " or ".join(repr(one) for one in spelled[bare]) + "?"
    hint = did_you_mean(bare, spelled)
    for key, spellings in spelled.items():
        asked = f"{prefix}.{key}"
        hint = hint.replace(repr(key), repr(asked if asked in spellings else spellings[0]))
    return hint


def _registries(scope: str) -> list:
    from mmengine.registry import Registry

    try:
        module = sys.modules.get(f"{scope}.registry") or import_module(f"{scope}.registry")
    except ImportError:
        return []
    return [value for value in vars(module).values() if isinstance(value, Registry)]
