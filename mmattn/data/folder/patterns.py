"""Patterns of file names, such as ``{name}_{split}`` for ``21_training.tif``.

``{name}`` is what an image and its mask share, ``{split}`` the split in any of its spellings
(``train``, ``training``, ``val``, …), ``*`` any text. A pattern without an ending fits any ending.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from mmattn.errors import ConfigError, did_you_mean
from mmattn.images import IMAGE_SUFFIXES

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

Pattern = str | Mapping[str, str] | None


class NamePattern:
    """The pattern of the file names of one split.

    Args:
        pattern: Text with ``{name}`` once, and ``{split}`` and ``*`` where needed.
        option: Name of the option, used in messages.
        split: The split, or ``all`` where there are none, which takes the spelling of any.
    """

    def __init__(self, pattern: str, option: str, split: str) -> None:
        self.text = pattern
        spellings = SPLITS.get(split) or tuple(s for names in SPLITS.values() for s in names)
        # The longest first: else "train" would leave "ing" of "training" to what follows.
        alternatives = "|".join(sorted(spellings, key=len, reverse=True))
        parts = {"{name}": "(?P<name>.+)", "{split}": f"(?i:{alternatives})", "*": ".*"}
        words = re.split(r"(\{[^{}]*\}|\*)", pattern)
        unknown = [w for w in words if w.startswith("{") and w not in parts]
        if unknown or words.count("{name}") != 1:
            reason = f"{unknown[0]} is not known" if unknown else "it needs {name} once"
            raise ConfigError(
                f"{option}={pattern!r}: {reason}. Write what the names of the files look like, "
                "such as '{name}_{split}' or 'mask_{name}.png', where {name} is what an image and "
                "its mask share"
            )
        self._regex = re.compile("".join(parts.get(word, re.escape(word)) for word in words))
        self._has_ending = pattern.lower().endswith(IMAGE_SUFFIXES)

    def name_in(self, file: str) -> str | None:
        """Return the ``{name}`` of a file, with its folder; None if the file does not fit.

        >>> NamePattern("{name}_{split}", "image_pattern", "train").name_in("a/21_training.tif")
        'a/21'
        """
        folder, name = os.path.split(file)
        found = self._regex.fullmatch(name if self._has_ending else os.path.splitext(name)[0])
        return None if found is None else os.path.join(folder, found["name"])


def suggest_patterns(
    images: Sequence[str], masks: Sequence[str], split: str
) -> tuple[str, str] | None:
    """Return patterns that pair most of the images with masks; None where none are found.

    >>> suggest_patterns(["21_training.tif", "22_training.tif"],
    ...                  ["gt_21.gif", "gt_22.gif"], "train")
    ('{name}_{split}', 'gt_{name}')
    """
    stems = [[os.path.splitext(os.path.basename(n))[0] for n in names] for names in (images, masks)]
    found, cores = [], []
    for names in stems:
        if len(names) < 2:
            return None
        before = re.match(r".*[_\-. ]|", _common_start(names))[0]
        rest = [name[len(before) :] for name in names]
        after = _common_start([name[::-1] for name in rest])[::-1]
        after = re.search(r"[_\-. ].*$|$", after)[0]
        cores.append({name[: len(name) - len(after)] for name in rest})
        found.append((before, after))
    if 2 * len(cores[0] & cores[1]) < len(images):
        return None
    spellings = "|".join(sorted(SPLITS.get(split, ()), key=len, reverse=True))
    parts = [
        [re.sub(rf"(?i)(?<![a-z])(?:{spellings})(?![a-z])", "{split}", p) if spellings else p
         for p in pair]
        for pair in found
    ]  # fmt: skip
    return f"{parts[0][0]}{{name}}{parts[0][1]}", f"{parts[1][0]}{{name}}{parts[1][1]}"


def _common_start(words: Sequence[str]) -> str:
    """Return the letters that all words begin with."""
    first, last = min(words), max(words)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    return first if same is None else first[:same]


def pattern_of(pattern: Pattern, option: str, split: str) -> NamePattern | None:
    """Return the pattern of a split; None where none is given.

    Args:
        pattern: One for all splits, or one for each split by its name.
        option: Name of the option, used in messages.
        split: The split.

    Raises:
        ConfigError: The pattern is not understood, or a name is not that of a split.
    """
    if isinstance(pattern, Mapping):
        for name in pattern:
            if name not in (*SPLITS, "all"):
                known = (*SPLITS, "all")
                raise ConfigError(
                    f"{option}.{name}: give one of {', '.join(known)}.{did_you_mean(name, known)}"
                )
        pattern = pattern.get(split, pattern.get("all"))
    return None if pattern is None else NamePattern(str(pattern), option, split)
