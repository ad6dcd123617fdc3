"""The page of compatibility: a summary, a table per group of configs, and what no cell can hold."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .compatibility import Outcome

COMMAND = "python -m tests.support.write_compatibility"
PACKAGES = ("torch", "torchvision", "numpy", "onedl-mmengine", "onedl-mmcv")
PACKAGES += ("onedl-mmdetection", "onedl-mmsegmentation")
PACKAGES += ("mmengine", "mmcv", "mmcv-lite", "mmdet", "mmsegmentation")
PAGES = {"the forks": "compatibility.md", "the original packages": "compatibility_originals.md"}
ALGORITHM_TITLE = "One config of every other folder"
NEEDS_TITLE = "Needs an optional package"
HEADER = """\
# Compatibility

Which configs of mmdet and mmseg run with mmattn as they are shipped.
Written by `{command}`; do not edit by hand.

{versions} These are {family}; the page of the others is [{other}]({other}).

{summary}

A config is built from its registry, trained for one step on two tiny drawn images with targets
(finite loss, finite gradients, finite weights afterwards), and predicts on one (fields, shapes,
finite values), on a CPU. Nothing is downloaded. What is different from a real run is listed in
`tests/support/compatibility.py`. `ops` names the functions of mmcv's compiled extension that were
called: {extension}.

To write the page again, and to go on where a run was stopped:

```bash
{command} --results outcomes.jsonl
{command} --results outcomes.jsonl --again failed   # or: needs
```
"""
STRICT_TEXT = """\
Here every trainable parameter has to get a gradient that is not zero, unless the last section says
why it cannot in one step."""
ALGORITHM_TEXT = """\
A tiny scene leaves parts of many networks idle, such as the levels for large objects; for these
configs the number of parameters that a gradient reached is reported, not judged."""
NEEDS_TEXT = """\
mmattn names the package before it builds (MissingPackageError, exit code 3), where the model needs
it, or the data and metrics of the split that is run. Where it was not installed, the columns show
how far the config came without it."""
COLUMNS = ("config", "builds", "trains: loss", "gradients reach", "predicts", "ops", "remarks")
NEEDS_COLUMNS = ("config", "install", "was there", *COLUMNS[1:5], "remarks")
_VERBS = ("builds", "trains", "predicts")
# A config that takes more than one of these is called heavy.
HEAVY_SECONDS = 120.0
HEAVY_GIGABYTES = 10.0


def render(tables: dict[str, list[Outcome]]) -> str:
    """The page: versions, a summary, a table per group, and what each table cannot say in a cell.

    Args:
        tables: Title of a group -> the outcomes of its configs.
    """
    here = family()
    (other,) = (page for name, page in PAGES.items() if name != here)
    groups = _groups(tables)
    facts = {"extension": extension_in_use(), "versions": versions(), "summary": summary(groups)}
    page = [HEADER.format(command=COMMAND, family=here, other=other, **facts)]
    for title, outcomes in groups.items():
        page += [f"## {title}: {sum(one.works for one in outcomes)} of {len(outcomes)} work", ""]
        if title == NEEDS_TITLE:
            page += [NEEDS_TEXT, "", *_table(NEEDS_COLUMNS, map(needs_row, outcomes)), ""]
            continue
        strict = any(outcome.case.strict for outcome in outcomes)
        page += [STRICT_TEXT if strict else ALGORITHM_TEXT, ""]
        page += [*_table(COLUMNS, map(row, outcomes)), ""]
    every = [outcome for outcomes in groups.values() for outcome in outcomes]
    page += _section("What does not work", every, failures)
    page += _section("Heavy", every, heavy_lines)
    page += _section("Parameters that the step cannot train", every, idle_parameters)
    return "\n".join(page).rstrip() + "\n"


def _groups(tables: dict[str, list[Outcome]]) -> dict[str, list[Outcome]]:
    """The tables without empty ones; what needs an optional package and is not promised is last."""

    def is_extra(outcome: Outcome) -> bool:
        return bool(outcome.needs) and not outcome.case.strict

    groups = {
        title: [outcome for outcome in outcomes if not is_extra(outcome)]
        for title, outcomes in tables.items()
    }
    groups[NEEDS_TITLE] = [one for outcomes in tables.values() for one in outcomes if is_extra(one)]
    return {title: outcomes for title, outcomes in groups.items() if outcomes}


def summary(groups: dict[str, list[Outcome]]) -> str:
    """How many configs of each group build, train and predict, as a table with their sum."""
    rows = {title: _counts(outcomes) for title, outcomes in groups.items()}
    every = [outcome for outcomes in groups.values() for outcome in outcomes]
    if len(rows) > 1:
        rows["All"] = _counts(every)
    head = ("", "configs", "build", "train a step", "predict", "work")
    cells = ([title, *map(str, counts)] for title, counts in rows.items())
    return "\n".join([*textwrap.wrap(_in_words(every), width=100), "", *_table(head, cells)])


def _in_words(every: Sequence[Outcome]) -> str:
    """The sum of the summary, and what the columns leave open."""
    said = [f"{sum(one.works for one in every)} of {len(every)} configs build, train and predict."]
    lacking = sum("MissingPackageError" in one.error for one in every)
    if lacking:
        said.append(f"{lacking} need an optional package that was not installed here.")
    failing = sum(not one.works and "MissingPackageError" not in one.error for one in every)
    said.append(f"{failing} fail for another reason." if failing else "None fails otherwise.")
    parts = sum(bool(one.case.trains_by_parts) and one.works for one in every)
    if parts:
        said.append(f"Without a training step of their own, among those that work: {parts}.")
    return " ".join(said)


def _counts(outcomes: Sequence[Outcome]) -> list[int]:
    reached = [sum(getattr(outcome, verb) for outcome in outcomes) for verb in _VERBS]
    return [len(outcomes), *reached, sum(outcome.works for outcome in outcomes)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = (columns, ["---"] * len(columns), *rows)
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def row(outcome: Outcome) -> list[str]:
    """The cells of ``COLUMNS``."""
    ops = ", ".join(sorted(outcome.ops)) or "none"
    return [f"`{outcome.case.config}`", *_reached(outcome), ops, remarks(outcome)]


def needs_row(outcome: Outcome) -> list[str]:
    """The cells of ``NEEDS_COLUMNS``."""
    there = [version or f"no {module}" for module, version in outcome.needs.items()]
    first = (f"`{outcome.case.config}`", f"`{outcome.install}`", ", ".join(there))
    return [*first, *_reached(outcome), remarks(outcome)]


def _reached(outcome: Outcome) -> tuple[str, str, str, str]:
    """Whether it builds, trains, with what share of the parameters, and predicts."""
    trains = f"yes: {outcome.loss:.4g}" if outcome.trains else "no"
    if outcome.case.trains_by_parts:
        trains = "in parts"
    reached = outcome.trainable - len(outcome.without_gradient)
    share = f"{reached}/{outcome.trainable}" if outcome.trainable else ""
    return _yes(outcome.builds), trains, share, _yes(outcome.predicts)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def remarks(outcome: Outcome) -> str:
    """Why a config does not work, and what else there is to know of it."""
    case = outcome.case
    said = []
    if lacking := re.search(r"(\S+ (\([^)]*\) )?needs '.*), which (is|are) not", outcome.error):
        said.append(lacking[1])
    elif outcome.error:
        said.append(case.why_not or shown(outcome.error))
    if case.note:
        said.append(case.note)
    if case.trains_by_parts:
        said.append(f"not trained as a whole: {case.trains_by_parts}")
    if is_heavy(outcome):
        said.append("heavy")
    return "; ".join(said)


def _fails(outcome: Outcome) -> bool:
    """Whether something is at fault; a package that is missing has a column of its own."""
    return bool(outcome.error) and "MissingPackageError" not in outcome.error


def failures(outcome: Outcome) -> list[str]:
    """What the library said, beside the sentence that the table has."""
    lines = [f"- `{outcome.case.config}`: {shown(outcome.error)}"] if _fails(outcome) else []
    if outcome.unexplained and outcome.case.strict:
        names = ", ".join(f"`{name}`" for name in outcome.unexplained)
        lines.append(f"- `{outcome.case.config}`: no gradient reaches {names}")
    return lines


def is_heavy(outcome: Outcome) -> bool:
    """Whether a config took much time of the processor, or much memory."""
    return outcome.cpu_seconds > HEAVY_SECONDS or outcome.gigabytes > HEAVY_GIGABYTES


def heavy_lines(outcome: Outcome) -> list[str]:
    if not is_heavy(outcome):
        return []
    minutes = outcome.cpu_seconds / 60
    took = f"{minutes:.0f} minutes of one processor, {outcome.gigabytes:.0f} GB of memory"
    because = f": {outcome.case.heavy}" if outcome.case.heavy else ""
    return [f"- `{outcome.case.config}`: {took}{because}"]


def shown(error: str) -> str:
    """An error without the folders of this machine."""
    return re.sub(r"/\S*/site-packages/", "", error).replace("|", "\\|")


def idle_parameters(outcome: Outcome) -> list[str]:
    """The idle parameters by reason: all of a promised config, the modules of another."""
    reasons: dict[str, list[str]] = {}
    for name, reason in outcome.without_gradient.items():
        reasons.setdefault(reason, []).append(name)
    lines = []
    for reason, names in reasons.items():
        if reason:
            listed = ", ".join(f"`{name}`" for name in names)
            lines.append(f"- `{outcome.case.config}`: {reason}: {listed}")
        elif not outcome.case.strict:
            listed = ", ".join(f"`{prefix}.*` ({count})" for prefix, count in _by_module(names))
            lines.append(f"- `{outcome.case.config}`: {listed}")
    return lines


def _by_module(names: list[str]) -> list[tuple[str, int]]:
    """Parameter names by their first two parts, with their number."""
    return list(Counter(".".join(name.split(".")[:2]) for name in names).items())


def _section(
    title: str, outcomes: list[Outcome], describe: Callable[[Outcome], list[str]]
) -> list[str]:
    lines = [line for outcome in outcomes for line in describe(outcome)]
    return [f"## {title}", "", *(lines or ["Nothing."]), ""]


def versions() -> str:
    """Python, the system, and the packages that the page depends on."""
    import platform

    found = ", ".join(f"{name} {version}" for name, version in installed().items())
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}; {found}."


def installed() -> dict[str, str]:
    """The versions of those of ``PACKAGES`` that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def family() -> str:
    """Which of ``PAGES`` the installed packages belong to."""
    return "the forks" if "onedl-mmdetection" in installed() else "the original packages"


def extension_in_use() -> str:
    import mmcv._ext as ext

    if getattr(ext, "__file__", None):
        return "here mmcv's own, since it is installed"
    return "here the bridge's, since mmcv is installed without it"
