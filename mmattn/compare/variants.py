"""Variants of a network: those that a command line names, and the controls beside them.

A command line names blocks, ``none,SE,CBAM(reduction=8),ELA-T``. Two controls say what a difference
is worth: the network without a block trained with **other seeds**, which nothing but chance tells
apart, and a **wider host**, which has as many parameters as the block adds (``width``).
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from mmattn.errors import ConfigError, did_you_mean
from mmattn.plugins.blocks import is_block
from mmattn.registry import MODELS

from .places import Place, with_block
from .width import Widening

#: The network without any block.
BASE = "none"
#: The same network with other seeds: those of its runs are higher by this number.
OTHER_SEEDS, SEED_OFFSET = "other seeds", 1000
_WORD = re.compile(r"(?P<name>[\w.]+)(?:-(?P<version>\w+))?(?:\((?P<arguments>.*)\))?", re.DOTALL)


@dataclass(frozen=True)
class Variant:
    """The network with one block, without any, or a control.

    Attributes:
        label: Name of the variant, as it was written.
        block: Config of the block; None for a network without one.
        places: Places of the block.
        widening: For a wider host, what is wider.
        seed_offset: Number by which the seeds of its runs are higher than the base's.
    """

    label: str
    block: Mapping[str, Any] | None = None
    places: tuple[Place, ...] = ()
    widening: Widening | None = None
    seed_offset: int = 0

    @property
    def slug(self) -> str:
        """The label as a file name; the * of a place is called ``each``."""
        return re.sub(r"[^\w.-]+", "_", self.label.replace("*", "each")).strip("_")

    @property
    def is_control(self) -> bool:
        """Whether it is there to judge the others by."""
        return self.widening is not None or self.seed_offset > 0

    @property
    def description(self) -> str:
        """Label and places, for messages."""
        where = " and ".join(map(str, self.places))
        return f"{self.label} at {where}" if where and where not in self.label else self.label

    def model(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of the variant's model, made from that of the base."""
        if self.widening is not None:
            return self.widening.apply(base)
        return with_block(base, self.block, self.places)


def other_seeds() -> Variant:
    """Return the control that differs from the base by its seeds alone."""
    return Variant(OTHER_SEEDS, seed_offset=SEED_OFFSET)


def wider_host(widening: Widening) -> Variant:
    """Return the control that has more channels instead of a block."""
    return Variant(f"wider host ({widening})", widening=widening)


def at_each_place(variants: Sequence[Variant], places: Sequence[Place]) -> tuple[Variant, ...]:
    """Return one variant for each block and each place; the base stays as it is."""
    base, *blocks = variants
    grid = [
        replace(variant, label=f"{variant.label} at {place}", places=(place,))
        for variant in blocks
        for place in places
    ]
    return (base, *grid)


def at_all_places(variants: Sequence[Variant], places: Sequence[Place]) -> tuple[Variant, ...]:
    """Return variants whose blocks are at all of ``places`` at once."""
    base, *blocks = variants
    return (base, *(replace(variant, places=tuple(places)) for variant in blocks))


def parse_variants(text: str) -> tuple[Variant, ...]:
    """Read the words of ``--insert``; the base comes first, whether it is named or not.

    A word is a block's name, in full (``CBAM``, ``mmattn.CBAM``, ``mmdet.X``) or the beginning of
    exactly one of ours (``CrissCross``); then, where the block has named versions, ``-`` and one of
    them (``ELA-T``); then arguments in brackets (``CBAM(reduction=8)``).

    Raises:
        ConfigError: There is no such block or version, arguments are not Python literals, or a word
            is given twice.
    """
    variants = [Variant(BASE)]
    variants += [parse_variant(word) for word in _split(text) if word != BASE]
    for attribute in ("label", "slug"):
        names = [getattr(variant, attribute).lower() for variant in variants]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ConfigError(f"--insert {text}: {twice!r} is given twice.")
    if len(variants) == 1:
        raise ConfigError(f"--insert {text}: names no block to compare with {BASE!r}.")
    return tuple(variants)


def parse_variant(word: str) -> Variant:
    """Read one word of ``--insert``, and look its block up.

    Raises:
        ConfigError: See ``parse_variants``.
    """
    match = _WORD.fullmatch(word)
    if match is None:
        raise ConfigError(
            f"--insert {word!r}: expected a block's name, as in CBAM, ELA-T or CBAM(reduction=8)."
        )
    name, cls = _find(match["name"])
    block: dict[str, Any] = {"type": name}
    if match["version"]:
        block |= _version(cls, match["version"], word)
    if match["arguments"] is not None:
        arguments = _arguments(match["arguments"], word)
        twice = sorted(set(block) & set(arguments))
        if twice:
            raise ConfigError(
                f"--insert {word!r}: {', '.join(twice)} is set by the name already; "
                "give only one of the two."
            )
        block |= arguments
    return Variant(word, block)


def _split(text: str) -> list[str]:
    """Split at commas outside brackets."""
    words, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words if word.strip()]


def _find(name: str) -> tuple[str, type]:
    """Return the registered name of a block, with its scope, and its class."""
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
                f"--insert {name!r}: this is the beginning of {' and '.join(sorted(beginning))}; "
                "write more of the name."
            )
    with ROOT.switch_scope_and_registry(None) as registry:
        cls = registry.get(name)  # mmcv's and those of other scopes
    if not (inspect.isclass(cls) and issubclass(cls, nn.Module)):
        folded = {known.lower(): known for known in ours}
        near = folded.get(bare.lower())
        hint = f" Did you mean {near!r}?" if near else did_you_mean(bare, ours)
        raise ConfigError(
            f"--insert {name!r}: there is no block of that name.{hint} "
            f"Known names: {BASE}, {', '.join(sorted(ours))}."
        )
    return name, cls


def known_blocks() -> dict[str, type]:
    """Return our blocks, by name: modules that need ``in_channels`` and nothing else."""
    MODELS.import_from_location()
    return {name: cls for name, cls in MODELS.module_dict.items() if is_block(cls)}


def _version(cls: type, version: str, word: str) -> Mapping[str, Any]:
    """Return the arguments that a named version of a block stands for."""
    versions = getattr(cls, "variants", {})
    if version in versions:
        return versions[version]
    known = ", ".join(f"{cls.__name__}-{name}" for name in versions)
    raise ConfigError(
        f"--insert {word!r}: {cls.__name__} has no version {version!r}."
        f"{did_you_mean(version, versions)} "
        + (f"It has {known}." if known else "It has no named versions.")
    )


def _arguments(text: str, word: str) -> dict[str, Any]:
    try:
        call = ast.parse(f"block({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("arguments must be given by name")
        return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ConfigError(
            f"--insert {word!r}: expected arguments with names and Python literals as values, as "
            f"in CBAM(reduction=8): {error}."
        ) from error
