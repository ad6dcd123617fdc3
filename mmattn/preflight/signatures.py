"""Arguments that a class needs and a config lacks, and values that it cannot take, by signature.

What a class asks for is in its ``__init__``: arguments without a default, and the types of the
defaults and annotations. Only what is plain is judged: text where a number or a switch is expected,
a number or list where a text is. Parts of models get arguments from the part around them, so what
they lack is left to the build.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.class_counts import AUTO

from .config_arguments import class_of, sections_of, typed_blocks

#: Registries whose classes get all their arguments from the config, but for those below.
WHOLE = frozenset(
    {
        *("TRANSFORMS", "HOOKS", "METRICS", "DATASETS", "PARAM_SCHEDULERS", "LOOPS"),
        *("DATA_SAMPLERS", "VISBACKENDS"),
    }
)
#: Arguments that the runner or the part around gives.
GIVEN = frozenset(
    {
        *("self", "args", "kwargs", "optimizer", "runner", "dataloader", "evaluator", "dataset"),
        *("datasets", "sampler", "batch_size", "save_dir", "cfg", "metric", "pipeline", "priority"),
        *("param_name",),
    }
)

#: Arguments that are paths or names; other texts, such as ``loss_scale``, may be numbers too.
_PLACES = re.compile(r"(?:file|root|dir|path|prefix|suffix|name)$")


def signature_problems(
    cfg: Mapping[str, Any], splits: Sequence[str], *, whole: bool = False
) -> list[str]:
    """List arguments that are missing, and values of a type that their class cannot take.

    The config's scope must have been entered (``enter_scope``).

    Args:
        cfg: The whole config.
        splits: Splits that are run, of ``train``, ``val`` and ``test``.
        whole: Whether the model is built as it is, so that it may lack nothing.

    Returns:
        Problems, each a sentence that begins with the key.
    """
    scope = cfg.get("default_scope") or "mmengine"
    problems: list[str] = []
    for section, registry, value in sections_of(cfg, splits):
        for place, block, registries, inner_scope in typed_blocks(value, section, registry, scope):
            found = class_of(block["type"], registries, inner_scope)
            if found is None:
                continue
            title = getattr(found, "__name__", str(found))
            parameters = parameters_of(found)
            if registries[0] in WHOLE or (whole and place == "model"):
                problems += [
                    f"{place}.{name}: missing argument {name!r} for {title}"
                    for name, parameter in parameters.items()
                    if name not in block and name not in GIVEN and is_required(parameter)
                ]
            for name, parameter in parameters.items():
                if name in block:
                    problems += _type_problem(f"{place}.{name}", block[name], parameter)
    return problems


def parameters_of(found: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class, with those of its bases as far as it hands on the rest."""
    if not inspect.isclass(found):
        return _of_function(found)
    merged: dict[str, inspect.Parameter] = {}
    for base in found.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = _of_function(vars(base)["__init__"])
        for name, parameter in parameters.items():
            merged.setdefault(name, parameter)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            break
    return merged


def _of_function(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def is_required(parameter: inspect.Parameter) -> bool:
    named = (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return parameter.default is parameter.empty and parameter.kind in named


def _type_problem(place: str, value: Any, parameter: inspect.Parameter) -> Iterator[str]:
    kind = kind_of(parameter)
    if value == AUTO:
        return  # counted in the data before the build
    if kind in ("number", "switch") and isinstance(value, str):
        wanted = "a number" if kind == "number" else "True or False"
        yield f"{place}={value!r} is a text: {wanted} is expected"
    elif kind == "text" and names_a_place(place) and not isinstance(value, (str, type(None))):
        yield f"{place}={value!r:.60}: a text is expected"


def names_a_place(argument: str) -> bool:
    """Return whether an argument is a path or a name, by its own name."""
    return _PLACES.search(argument) is not None


def kind_of(parameter: inspect.Parameter) -> str:
    """Return ``number``, ``switch`` or ``text`` where nothing else can be meant; else empty."""
    default, annotation = parameter.default, parameter.annotation
    if annotation is not parameter.empty:
        kinds = {_kind_of_annotation(part) for part in _parts(annotation)} - {"none"}
        return kinds.pop() if len(kinds) == 1 else ""
    if isinstance(default, bool):
        return "switch"
    return "number" if isinstance(default, (int, float)) else ""


def _parts(annotation: Any) -> Sequence[Any]:
    if isinstance(annotation, str):
        return [part.strip() for part in annotation.split("|")]
    if typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return [annotation]


def _kind_of_annotation(part: Any) -> str:
    name = part if isinstance(part, str) else getattr(part, "__name__", str(part))
    kinds = {"int": "number", "float": "number", "bool": "switch", "str": "text"}
    return kinds.get(name, "none" if name in ("None", "NoneType") else f"other {name}")
