"""YAML and JSON configs are data: what they may name, and what only a Python config may.

A config names classes, and mmengine finds a name that no registry has by importing it: ``type:
os.system`` runs at the build, ``default_scope: evil`` imports ``evil.registry``, ``custom_imports``
imports on reading, and a few settings of mmcv and mmdet are evaluated. A Python config is code
anyway and may do all of it. Files of data come from anywhere, so in them

- ``type`` and its like are registered names, with the scope of an OpenMMLab package at most;
- scopes are those of packages that are known, or that the program has imported itself;
- ``custom_imports`` names ``mmattn`` at most, which is imported already;
- ``_base_`` names other files of data, or a Python config of an installed package;
- no setting names a pickle, or is a text that is evaluated.

``mmattn.bridge.yaml_json_configs`` brings this into mmengine's own reader and registries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmattn.errors import ConfigError
from mmattn.io.plain_data import line_of, parse_json, parse_yaml, read_text

from .problems import refuse

SUFFIXES = (".json", ".yaml", ".yml")
SCOPES = ("mmengine", "mmcv", "mmdet", "mmseg", "mmattn", "mmpretrain")
#: Every name that a file of data gave as a ``type``: registries must not import these.
NAMES: set[str] = set()

#: Keys whose texts are looked up in registries.
_TYPES = ("type", "constructor", "runner_type")
_SCOPE_KEYS = ("default_scope", "_scope_")
_NAME = re.compile(r"(?:(?P<scope>[A-Za-z_]\w*)\.)?[A-Za-z_]\w*")
#: Key -> what its text must look like, because mmcv or mmdet evaluates it.
_EVALUATED = {"warp_mode": re.compile(r"cv2\.MOTION_[A-Z]+"), "search_op": re.compile(r"\w+")}
_NMS = re.compile(r"[a-z_]*nms[a-z_]*")
_PICKLES = (".pkl", ".pickle")
#: Keys whose files are read by mmattn's reader of weights, or written.
_SAFE_PICKLES = ("load_from", "checkpoint", "pretrained", "out_file_path", "proposals_file")
_WAY_OUT = "write it in a Python config (.py), which is code that you vouch for"


def read_yaml_json(path: str | Path, shown: str | Path | None = None) -> dict[str, Any]:
    """Read a YAML or JSON config without its bases, and refuse what only code may say.

    Args:
        path: Path of the file.
        shown: Path for messages, where ``path`` is a copy.

    Raises:
        ConfigError: It is not valid, builds objects, or names code; the message has file, line,
            key, value and the way out, for all settings at once.
    """
    shown = path if shown is None else shown
    text = read_text(path, ConfigError)
    parse = parse_json if str(path).lower().endswith(".json") else parse_yaml
    content = parse(text, shown, ConfigError)
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{shown} holds {type(content).__name__}, not a mapping of settings: begin with "
            "key: value"
        )
    problems = []
    for steps, problem in code_in_data(content):
        line = line_of(text, steps)
        problems.append(f"line {line}: {problem}" if line else problem)
    refuse(problems, str(shown))
    NAMES.update(
        value
        for steps, value in _leaves(content)
        if isinstance(value, str) and steps and steps[-1] in _TYPES
    )
    return content


def code_in_data(content: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what a config of data must not say, each with the keys that lead to it."""
    for steps, value in _leaves(content):
        key = next((step for step in reversed(steps) if isinstance(step, str)), "")
        problem = _problem(steps, key, value)
        if problem:
            yield steps, f"{_dotted(steps)}={_short(value)}: {problem}"


def _problem(steps: tuple[str | int, ...], key: str, value: Any) -> str | None:
    if steps[:2] == ("custom_imports", "imports"):
        return _import_problem(value)
    if not isinstance(value, str):
        return None
    if key in _TYPES:
        return _type_problem(steps, value)
    if key in _SCOPE_KEYS and value not in known_scopes():
        return f"no package of this name is known, and it would be imported; {_WAY_OUT}"
    if key == "_base_":
        return _base_problem(value)
    pattern = _EVALUATED.get(key)
    if pattern is not None and not pattern.fullmatch(value):
        return f"this text is evaluated as code; {_WAY_OUT}"
    if key == "decode_backend" and value == "pickle":
        return f"a pickle runs what it contains when it is read; {_WAY_OUT}"
    if value.lower().endswith(_PICKLES) and key not in _SAFE_PICKLES:
        return f"a pickle runs what it contains when it is read: save it as JSON, or {_WAY_OUT}"
    return None


def _import_problem(value: Any) -> str | None:
    if not isinstance(value, str) or value == "mmattn" or value.startswith("mmattn."):
        return None
    return f"custom_imports runs a module on reading the config; {_WAY_OUT}"


def _type_problem(steps: tuple[str | int, ...], value: str) -> str | None:
    found = _NAME.fullmatch(value)
    if found is None:
        return (
            "a file of data takes its types from the registries, 'Name' or 'package.Name', not "
            f"by the path of a module; {_WAY_OUT}"
        )
    scope = found["scope"]
    if scope is not None and scope not in known_scopes():
        return (
            f"{scope!r} is not a package with registries, and it would be imported; the types of a "
            f"file of data are registered names; {_WAY_OUT}"
        )
    owner = next((s for s in reversed(steps[:-1]) if isinstance(s, str)), "")
    if "nms" in owner and not _NMS.fullmatch(value):
        return "the name of an NMS operator, such as 'nms' or 'soft_nms', is expected"
    return None


def _base_problem(value: str) -> str | None:
    package, separator, inside = value.partition("::")
    if separator:
        folders = inside.replace("\\", "/").split("/")
        if ".." in folders or os.path.isabs(inside) or not package.isidentifier():
            return "the path leads out of the configs of the package"
        return None
    if value.lower().endswith(SUFFIXES) or "{{" in value:
        return None
    return (
        "a Python config runs when it is read, and a file of data runs nothing: inherit a YAML or "
        "JSON file, or a config of an installed package (package::path); else write this config "
        "in Python"
    )


def known_scopes() -> set[str]:
    """Return the scopes that a file of data may name: OpenMMLab's, and those imported already."""
    import sys

    scopes: set[str] = set(SCOPES)
    root = sys.modules.get("mmengine.registry")
    if root is not None:
        for name in ("MODELS", "DATASETS", "TRANSFORMS", "HOOKS", "METRICS"):
            scopes |= set(getattr(root, name).children)
    return scopes


def _leaves(
    value: Any, steps: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*steps, key if isinstance(key, (str, int)) else str(key)))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*steps, index))
    else:
        yield steps, value


def _dotted(steps: tuple[str | int, ...]) -> str:
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
