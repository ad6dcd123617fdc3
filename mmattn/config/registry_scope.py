"""Enter the registry scope of a config, and turn errors of registries into ConfigErrors."""

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
# mmengine's words: "X is not in the mmdet::model registry"; for runners and schedulers without the
# scope. tests/config/test_registry_scope.py raises each of them for real.
_NOT_FOUND = re.compile(
    r"(?P<name>[\w.]+) is not in the (?:(?P<scope>\w+)::)?(?P<registry>[\w ]+) registry"
)
# Python's words for an argument that a function does not have.
_UNEXPECTED = re.compile(
    r"(?P<cls>\w+)(?P<init>\.__init__)?\(\) got an unexpected keyword argument '(?P<key>\w+)'"
)


def enter_scope(cfg: Config) -> str:
    """Make the scope of ``cfg`` the default one and register everything of its package.

    Args:
        cfg: A whole config.

    Returns:
        The scope: ``default_scope`` of the config, or mmengine's own.
    """
    from mmengine.registry import init_default_scope

    scope = cfg.get("default_scope") or "mmengine"
    if scope in ("mmdet", "mmseg"):
        import_module(f"{scope}.utils").register_all_modules(init_default_scope=False)
    init_default_scope(scope)
    return scope


@contextmanager
def explain_registry_errors(filename: str | None = None) -> Iterator[None]:
    """Turn mmengine's "is not in the registry" into a ConfigError that offers the nearest names.

    An unexpected keyword argument is reported as a ConfigError too; every message starts with the
    config's path. The names of all scopes are searched, since a forgotten prefix
    (``TimmBackbone`` for ``mmattn.TimmBackbone``) is as common a mistake as a misspelt name.

    Args:
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: A type is not registered, or an argument is unexpected.
    """
    where = f"{filename}: " if filename else ""
    try:
        yield
    except ConfigError as error:
        if not filename or filename in str(error):
            raise
        raise ConfigError(f"{where}{error}") from error
    except TypeError as error:
        unexpected = _UNEXPECTED.search(str(error))
        known = _arguments(unexpected["cls"]) if unexpected else set()
        # Any function may be called wrongly, by code; by a config, only a registered one.
        if unexpected is None or not (unexpected["init"] or known):
            raise
        raise ConfigError(
            f"{where}unexpected argument {unexpected['key']!r} for {unexpected['cls']}."
            f"{did_you_mean(unexpected['key'], known)}"
        ) from error
    except (KeyError, ImportError) as error:
        missing = _NOT_FOUND.search(str(error))
        if missing is None:
            raise
        name, registry, scope = missing["name"], missing["registry"], missing["scope"] or "mmengine"
        raise ConfigError(
            f"{where}type={name!r} is not a registered {registry} in scope {scope!r} or above it."
            f"{nearest_types(name, scope, registry)}"
        ) from error


def _arguments(class_name: str) -> set[str]:
    """Return the arguments of the registered function or classes called ``class_name``.

    Those of derived classes count as well: ``CCHead`` hands what it does not know to its base,
    whose name is then in the error.
    """
    from mmengine.registry import MODELS

    names: set[str] = set()
    for registry in (MODELS, *MODELS.children.values()):
        for registered in registry.module_dict.values():
            if isinstance(registered, FunctionType) and registered.__name__ == class_name:
                names.update(inspect.signature(registered).parameters)
            lineage = getattr(registered, "__mro__", ())
            if any(base.__name__ == class_name for base in lineage):
                for base in lineage:
                    if isinstance(base.__init__, FunctionType):
                        names.update(inspect.signature(base.__init__).parameters)
    return names - {"self", "args", "kwargs"}


def nearest_types(name: str, scope: str, registry_name: str) -> str:
    """Return a did-you-mean over the registries of all scopes.

    Args:
        name: Type name that is not registered.
        scope: Scope in which the name is written; suggestions are spelled as this scope needs it.
        registry_name: Name of the registries, such as ``model``.
    """
    prefix, _, bare = name.rpartition(".")
    spelled: dict[str, list[str]] = {}
    for other in dict.fromkeys((scope, *_KNOWN_SCOPES, "mmengine")):
        for registry in _registries(other):
            same_name = registry.name.replace("_", " ") == registry_name.replace("_", " ")
            if not same_name or registry.scope != other:
                continue
            registry.import_from_location()
            for key in registry.module_dict:
                spelling = key if other in (scope, "mmengine") else f"{other}.{key}"
                spelled.setdefault(key, []).append(spelling)
    if bare in spelled:
        return " Did you mean " + " or ".join(repr(spelling) for spelling in spelled[bare]) + "?"
    alike = [key for key in spelled if key.casefold() == bare.casefold()]
    hint = f" Did you mean {alike[0]!r}?" if alike else did_you_mean(bare, spelled)
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
