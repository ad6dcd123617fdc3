"""Block names as a command line has them: ``none,SE,CBAM(reduction=8),ELA-T,mmdet.X``."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.plugins.blocks import is_block
from mmattn.registry import MODELS

#: The network without any block.
BASE = "none"
_WORD = re.compile(r"(?P<name>[\w.]+)(?:-(?P<variant>\w+))?(?:\((?P<arguments>.*)\))?", re.DOTALL)


@dataclass(frozen=True)
class Insert:
    """One variant of a comparison.

    Attributes:
        label: As it was written.
        block: The block's config; None for the network as it is.
    """

    label: str
    block: Mapping[str, Any] | None = None

    @property
    def slug(self) -> str:
        """``label`` as a file name."""
        return re.sub(r"[^\w.-]+", "_", self.label).strip("_")


def parse_variants(text: str) -> tuple[Insert, ...]:
    """Read the words of ``--insert``; the base comes first, whether it is named or not.

    A word is a block's name, exact (``CBAM``, ``mmattn.CBAM``, ``mmdet.X``) or the beginning of
    just one of ours (``CrissCross``); then, where the block has named variants, ``-`` and one of
    them (``ELA-T``); then arguments in brackets (``CBAM(reduction=8)``).

    Raises:
        ConfigError: A name that no block has, a variant that it does not have, arguments that are
            no Python literals, a word that comes twice.
    """
    inserts = [Insert(BASE)]
    inserts += [resolve(word) for word in _split(text) if word != BASE]
    for attribute in ("label", "slug"):
        names = [getattr(insert, attribute).lower() for insert in inserts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ConfigError(f"--insert {text}: {twice!r} comes twice.")
    if len(inserts) == 1:
        raise ConfigError(f"--insert {text}: names no block to compare with {BASE!r}.")
    return tuple(inserts)


def resolve(word: str) -> Insert:
    """The block that ``word`` means.

    Raises:
        ConfigError: See ``parse_variants``.
    """
    found = _WORD.fullmatch(word)
    if found is None:
        raise ConfigError(
            f"--insert {word!r}: expected a block's name, as in CBAM, ELA-T or CBAM(reduction=8)."
        )
    name, kind = _find(found["name"])
    block: dict[str, Any] = {"type": name}
    if found["variant"]:
        block |= _variant(kind, found["variant"], word)
    if found["arguments"] is not None:
        arguments = _arguments(found["arguments"], word)
        twice = sorted(set(block) & set(arguments))
        if twice:
            raise ConfigError(
                f"--insert {word!r}: {', '.join(twice)} is settled by the name already; "
                "write one of the two."
            )
        block |= arguments
    return Insert(word, block)


def _split(text: str) -> list[str]:
    """At commas outside brackets."""
    words, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words if word.strip()]


def _find(name: str) -> tuple[str, type]:
    """The registered name, with its scope, and the class."""
    from mmengine.registry import MODELS as ROOT

    ours = known_blocks()
    scope, _, bare = name.rpartition(".")
    if scope in ("", "mmattn"):
        if bare in ours:
            return f"mmattn.{bare}", ours[bare]
        beginning = [known for known in ours if known.startswith(bare)]
        if len(beginning) == 1:
            return f"mmattn.{beginning[0]}", ours[beginning[0]]
        if beginning:
            raise ConfigError(
                f"--insert {name!r} is the beginning of {' and '.join(sorted(beginning))}: "
                "write more of it."
            )
    with ROOT.switch_scope_and_registry(None) as registry:
        kind = registry.get(name)  # mmcv's and those of other scopes
    if not (inspect.isclass(kind) and issubclass(kind, nn.Module)):
        folded = {known.lower(): known for known in ours}
        near = folded.get(bare.lower())
        hint = f" Did you mean {near!r}?" if near else did_you_mean(bare, ours)
        raise ConfigError(
            f"--insert {name!r}: there is no block of that name.{hint} "
            f"There are {BASE}, {', '.join(sorted(ours))}."
        )
    return name, kind


def known_blocks() -> dict[str, type]:
    """Our blocks, by name: modules that need ``in_channels`` and nothing else."""
    MODELS.import_from_location()
    return {name: kind for name, kind in MODELS.module_dict.items() if is_block(kind)}


def _variant(kind: type, variant: str, word: str) -> Mapping[str, Any]:
    variants = getattr(kind, "variants", {})
    if variant in variants:
        return variants[variant]
    listed = ", ".join(f"{kind.__name__}-{one}" for one in variants)
    raise ConfigError(
        f"--insert {word!r}: {kind.__name__} has no variant {variant!r}."
        f"{did_you_mean(variant, variants)} "
        + (f"It has {listed}." if listed else "It has no named variants.")
    )


def _arguments(text: str, word: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"block({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("arguments are given by name")
        return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"--insert {word!r}: arguments are written as Python literals with their names, as in "
            f"CBAM(reduction=8): {error}."
        ) from error
