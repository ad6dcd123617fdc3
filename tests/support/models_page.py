"""Write docs/models.md and the tables of the READMEs, out of the metafiles of the configs.

A README of a system that has the two marks gets a table of its published numbers between them.

Example:
    python -m tests.support.models_page --update
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmattn.config import model_index
from mmattn.config.model_index import ModelEntry, PaperResult, Result, numbers
from mmattn.errors import ConfigError
from mmattn.io.plain_data import parse_yaml, read_text
from mmattn.weights.index import PACKAGED, Index, read_index, weights_of_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/models.md"
COMMAND = "python -m tests.support.models_page --update"
START, END = f"<!-- Written by `{COMMAND}`: begin -->", "<!-- end of the models -->"
#: README -> language of its table's words, as the metafiles' ``Summary`` has them.
READMES = {ROOT / "README.md": "en", ROOT / "README.zh-CN.md": "zh"}
HEADS = {
    "en": ("system", "task", "parameters", "measured here", "export"),
    "zh": ("系统", "任务", "参数量", "在此测得", "导出"),
}
_KEYS = ("Task", "Parameters", "Measured", "Export")
_RANGE = {"en": "{} to {}", "zh": "{} 到 {}"}
_HEAD = f"""\
<!-- Written by `{COMMAND}`, out of configs/*/metafile.yml -->

# Models

Every config of mmattn by system. The name, or the short name behind it, stands for the config in
every command (`mmattn train yolov12-n data=my_boxes`), and `mmattn models NAME` shows what stands
here, with the command, commit and machine of each measurement.

- **Parameters** are those of the network as it is trained, with its auxiliary heads and frozen
  layers; of a recipe for a folder of your own, with one class. A test builds each network and
  counts.
- **Published** are the numbers of the paper, or of a page of its authors or of another project,
  with table and row where these are known. {{reproduced}}: most need
  several GPUs and a large dataset, which `mmattn models NAME` says.
- **Measured here** links the page that tells how. Small trainings on a CPU, which say that the
  network learns, and nothing about the published ones.
- **Weights** are names for `mmattn weights pull`, with the number that their publisher tells; none
  of them was trained here ([weights by name](weights.md)).
"""


@functools.cache
def collections() -> dict[str, dict[str, Any]]:
    """Return the systems by name, each as its metafile describes it, in the order of the index."""
    contents = [_read(ROOT / path) for path in _read(ROOT / "model-index.yml")["Import"]]
    return {one["Name"]: one for content in contents for one in content.get("Collections", ())}


def _read(file: Path) -> dict[str, Any]:
    return parse_yaml(read_text(file, ConfigError), file, ConfigError, fast=True)


def _entries(system: str) -> list[ModelEntry]:
    return [entry for entry in model_index() if entry.collection == system]


def page() -> str:
    """Return the text of docs/models.md."""
    weights = read_index(PACKAGED)
    sections = [_section(one, _entries(name), weights) for name, one in collections().items()]
    return "\n".join([_HEAD.format(reproduced=_reproduced()), *sections])


def _reproduced() -> str:
    """Return what is to be said of all published numbers together."""
    states = [result.reproduced for entry in model_index() for result in entry.published]
    if all(state.startswith("not ") for state in states):
        return "**None of them is reproduced here**"
    return "**They are not reproduced here** where a cell does not say so"


def _section(one: dict[str, Any], entries: Sequence[ModelEntry], weights: Index) -> str:
    """Return the section of one system: what it is, its models, where the numbers come from."""
    sources = list(dict.fromkeys(_source(result) for e in entries for result in e.published))
    lines = [
        f"## {one['Name']}",
        "",
        _first_line(one),
        "",
        _from_docs(one["Summary"]["Details"]),
        "",
    ]
    head = ["model", "task", "data", "parameters"]
    columns = [[_model(e), _task(e), e.data, f"{e.parameters:,}"] for e in entries]
    optional = {
        "published": [_published(e, sources) for e in entries],
        "measured here": [_measured(e.results) for e in entries],
        "weights": [_weights(e, weights) for e in entries],
    }
    for name, cells in optional.items():
        if any(cells):
            head.append(name)
            for row, cell in zip(columns, cells, strict=True):
                row.append(cell)
    lines += [_table(head, columns), ""]
    if sources:
        listed = "; ".join(f"[{number}] {text}" for number, text in enumerate(sources, 1))
        lines += [f"Published by: {listed}.", ""]
    return "\n".join(lines)


def _first_line(one: dict[str, Any]) -> str:
    """Return what a system is for, its paper and its page, as far as the metafile tells them."""
    page_ = _relative(one["README"])
    if "Paper" not in one:
        return f"Each has a paper of its own, which `mmattn models NAME` tells. [Results]({page_})."
    paper = f"[{one['Paper']['Title']}]({one['Paper']['URL']})"
    task = _sentence(one["Summary"]["en"]["Task"])
    return f"{task} Paper: {paper}. [What is proven, and use]({page_})."


def _model(entry: ModelEntry) -> str:
    alias = f", short `{entry.alias}`" if entry.alias else ""
    return f"[{entry.name}](../{_config(entry)}){alias}"


def _config(entry: ModelEntry) -> str:
    return entry.config.relative_to(entry.config.parents[2]).as_posix()


def _task(entry: ModelEntry) -> str:
    return entry.task.removesuffix(" Segmentation").removeprefix("Object ").lower()


def _source(result: PaperResult) -> str:
    return ", ".join(filter(None, (result.source, result.table)))


def _published(entry: ModelEntry, sources: Sequence[str]) -> str:
    cells = []
    for result in entry.published:
        row = f", row {result.row}" if result.row else ""
        note = f": {result.note}" if result.note else ""
        data = "" if entry.data in result.data else f" on {result.data}"
        number = sources.index(_source(result)) + 1
        ours = "" if result.reproduced.startswith("not ") else ", reproduced here"
        cells.append(f"{numbers(result.metrics)}{data} ([{number}]{row}{note}){ours}")
    return "; ".join(cells)


def _measured(results: Iterable[Result]) -> str:
    return "; ".join(
        f"[{numbers(one.metrics)}]({_relative(one.page)}) on {one.data}"
        + (f" ({one.note})" if one.note else "")
        for one in results
    )


def _weights(entry: ModelEntry, index: Index) -> str:
    """Return the weights that fit a config, each with the number that its publisher tells."""
    config = f"mmattn::{'/'.join(entry.config.parts[-2:])}"
    found = [*weights_of_config(index, config), *(index.entries[name] for name in entry.weights)]
    cells = {}
    for one in found:
        value = one.metric and (one.metric.upstream or one.metric.paper)
        told = f" ({value} {one.metric.name})" if one.metric and value else ""
        cells[f"`{one.name}`{told}"] = None
    return ", ".join(cells)


def readme_table(language: str) -> str:
    """Return the table of a README, "en" or "zh"; systems without words for it have no row."""
    rows = []
    for name, one in collections().items():
        if language not in one["Summary"]:
            continue
        words = one["Summary"][language]
        cells = {"Parameters": _range(_entries(name), language), **words}
        rows.append([f"[{name}]({one['README']})", *(str(cells[key]) for key in _KEYS)])
    return _table(HEADS[language], rows)


def _range(entries: Sequence[ModelEntry], language: str) -> str:
    """Return the least and the most parameters of the models; "1.2 M" where they are the same."""
    counts = [entry.parameters for entry in entries if entry.parameters is not None]
    ends = dict.fromkeys(f"{count / 1e6:.1f} M" for count in (min(counts), max(counts)))
    return next(iter(ends)) if len(ends) == 1 else _RANGE[language].format(*ends)


def shown(cell: str) -> str:
    """Return a cell as a reader sees it, without the addresses of its links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell)


def published_table(system: str) -> str:
    """Return the table of a system's published numbers, for its own README two folders deep."""
    rows = [
        [
            f"[{entry.name}](../../{_config(entry)})",
            f"{numbers(result.metrics)} on {result.data}",
            result.place + (f" ({result.note})" if result.note else ""),
            result.reproduced.partition(",")[0],
        ]
        for entry in _entries(system)
        for result in entry.published
    ]
    return _table(("config", "published", "by", "here"), rows)


def _between_marks(text: str, table: str) -> str:
    """Return a text with a table between the marks."""
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{table}\n\n{END}{after}"


def written() -> dict[Path, str]:
    """Return all pages that are written here, each with its text as it should be."""
    found = {PAGE: page()}
    for readme, language in READMES.items():
        found[readme] = _between_marks(readme.read_text("utf-8"), readme_table(language))
    for name, one in collections().items():
        text = (ROOT / one["README"]).read_text("utf-8")
        if "Paper" in one and START in text:
            found[ROOT / one["README"]] = _between_marks(text, published_table(name))
    return found


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns are not padded: some cells are far longer than others."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _relative(page_: str) -> str:
    return os.path.relpath(ROOT / page_, PAGE.parent)


def _from_docs(text: str) -> str:
    """Return a text whose links are from the root of the repository, for a page in docs/."""
    return text.replace("](docs/", "](").replace("](projects/", "](../projects/")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def stale() -> list[str]:
    """Return the pages that are not what the metafiles say."""
    return [
        os.path.relpath(file, ROOT)
        for file, text in written().items()
        if not file.is_file() or file.read_text("utf-8") != text
    ]


def main() -> int:
    """Say whether the pages are up to date, or write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the pages")
    if parser.parse_args().update:
        for file, text in written().items():
            file.write_text(text, encoding="utf-8")
        return 0
    found = stale()
    print(f"not up to date: {', '.join(found)}; run {COMMAND}" if found else "up to date")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
