"""Judge a config by a list of rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from mmattn.config.optional_packages import require_packages
from mmattn.config.registry_scope import enter_scope
from mmattn.preflight.structure import scope_problems

from ..explain import site_of
from ..places import shown_file
from ..trace import Trace, trace_config
from ..traced import Site
from .files import absolute_paths, duplicate_keys, leftover_deletes, unused_variables, unwired
from .model import channel_chain, class_counts, crop_sizes
from .run_problems import argument_names, is_run, numbers, structure, top_level_keys, type_names
from .schedules import schedule_ends

#: A rule: from a config to what is wrong, each with its key or place.
Rule = Callable[[Trace], Iterator[tuple[str | Site, str]]]
#: Name of a rule -> what it finds, and the rule itself.
RULES: dict[str, tuple[str, Rule]] = {
    "key": ("misspelt top-level keys", top_level_keys),
    "type": ("types that no registry has", type_names),
    "argument": ("arguments that a class does not take, or lacks", argument_names),
    "number": ("numbers and words that cannot be meant", numbers),
    "structure": ("sections that do not go together", structure),
    "class-count": ("heads with another number of classes than the dataset", class_counts),
    "channels": ("parts of a model that do not fit each other", channel_chain),
    "crop-size": ("crops that are not of the size that batches are padded to", crop_sizes),
    "schedule-end": ("schedules that do not end with the training", schedule_ends),
    "unused-variable": ("variables that nothing reads", unused_variables),
    "unwired": ("variables of a base that were set after the base had used them", unwired),
    "path": ("absolute paths, which are of one machine", absolute_paths),
    "duplicate-key": ("keys that a dict has twice", duplicate_keys),
    "delete": ("_delete_=True where there is nothing to delete", leftover_deletes),
}


#: Rules for configs that are run; a part for others to inherit does not say where its types are.
_OF_WHOLE = ("type", "argument", "number", "structure")


@dataclass(frozen=True)
class Finding:
    """Something wrong in a config.

    Attributes:
        file: File that it is in, which may be one that is inherited.
        line: Line, from 1 on; 0 where it is not known.
        rule: Name of the rule.
        message: What is wrong.
    """

    file: Path | None
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        file = shown_file(self.file) if self.file is not None else "(command line)"
        return f"{file}:{self.line}: {self.message} [{self.rule}]"


def lint(name: str | Path, rules: Collection[str] = tuple(RULES)) -> list[Finding]:
    """Judge a config; no data is read and no model built.

    Args:
        name: A path, or ``package::path``.
        rules: Names of the rules to judge by.

    Returns:
        What was found, in the order of files and lines.

    Raises:
        ConfigError: The config cannot be read.
        MissingPackageError: The config needs an optional package that is not installed.
    """
    trace = trace_config(name)
    if not is_run(trace):
        rules = [rule for rule in rules if rule not in _OF_WHOLE]
    scope = scope_problems(trace.cfg)
    if scope:  # nothing can be looked up
        site = site_of(trace, "default_scope")
        return [Finding(site.file, site.line, "type", text) for text in scope]
    require_packages(trace.cfg, ("train", "val", "test"))
    enter_scope(trace.cfg)
    found = []
    for rule in rules:
        for place, message in RULES[rule][1](trace):
            site = place if isinstance(place, Site) else site_of(trace, place)
            found.append(Finding(site.file or trace.path, site.line, rule, message))
    return sorted(dict.fromkeys(found), key=lambda one: (str(one.file), one.line, one.rule))
