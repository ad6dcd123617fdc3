"""Write docs/models.md and the tables of both READMEs, out of the metafiles of the configs.

Example:
    python -m tests.support.models_page --update
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmattn.config import model_index
from mmattn.config.model_index import ModelEntry, PaperResult, Result, numbers
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
<!-- Written by `{COMMAND}` out of configs/*/metafile.yml -->

# Models

Every config of mmattn by system. The name, or the short name behind it, stands for the config in
every command (`mmattn train yolov12-n data=my_boxes`), and `mmattn models NAME` shows what stands
here, with the command, commit and machine of each measurement.

- **Parameters** are those of the network as it is trained, with its auxiliary heads and frozen
  layers; of a recipe for a folder of your own, with one class. A test builds each network and counts.
- **Published** are the numbers of the paper, or of its authors' or another project's page, with
  table and row where these are known. **None of them is reproduced here**: most need several GPUs
  and a dataset of their own, which each model's metafile says.
- **Measured here** links the page that tells how. Small trainings on a CPU, which say that the
  network learns, and nothing about the published ones.
- **Weights** are names for `mmattn weights pull`; none of them was trained here
  ([weights by name](weights.md)).
"""


def collections() -> dict[str, dict[str, Any]]:
    """Return the systems by name, each as its metafile describes it, in the order of the index."""
    index = yaml.safe_load((ROOT / "model-index.yml").read_text("utf-8"))["Import"]
    contents = [yaml.safe_load((ROOT / path).read_text("utf-8")) for path in index]
    return {one["Name"]: one for content in contents for one in content.get("Collections", ())}


def page() -> str:
    """Return the text of docs/models.md."""
    weights = read_index(PACKAGED)
    parts = [_HEAD]
    for name, one in collections().items():
        entries = [entry for entry in model_index() if entry.collection == name]
        parts.append(_section(one, entries, weights))
    return "\n".join(parts)


def _section(one: dict[str, Any], entries: Sequence[ModelEntry], weights: Index) -> str:
    """Return the section of one system: what it is, its models, where the numbers come from."""
    sources = list(dict.fromkeys(_source(result) for e in entries for result in e.published))
    paper = f"[{one['Paper']['Title']}]({one['Paper']['URL']})"
    lines = [
        f"## {one['Name']}",
        "",
        f"{_sentence(one['Summary']['en']['Task'])} Paper: {paper}. "
        f"[What is proven, and use](../{one['README']}).",
        "",
        _from_docs(one["Summary"]["Details"]),
        "",
    ]
    head = ["model", "task", "data", "parameters"]
    columns = [[_model(e), e.task, e.data, f"{e.parameters:,}"] for e in entries]
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


def _model(entry: ModelEntry) -> str:
    config = entry.config.relative_to(entry.config.parents[2]).as_posix()
    alias = f", short `{entry.alias}`" if entry.alias else ""
    return f"[{entry.name}](../{config}){alias}"


def _source(result: PaperResult) -> str:
    return ", ".join(filter(None, (result.source, result.table)))


def _published(entry: ModelEntry, sources: Sequence[str]) -> str:
    cells = []
    for result in entry.published:
        row = f", row {result.row}" if result.row else ""
        note = f": {result.note}" if result.note else ""
        data = "" if entry.data in result.data else f" on {result.data}"
        number = sources.index(_source(result)) + 1
        cells.append(f"{numbers(result.metrics)}{data} ([{number}]{row}{note})")
    return "; ".join(cells)


def _measured(results: Iterable[Result]) -> str:
    return "; ".join(
        f"[{numbers(one.metrics)}]({_relative(one.page)}) on {one.data}"
        + (f" ({one.note})" if one.note else "")
        for one in results
    )


def _weights(entry: ModelEntry, index: Index) -> str:
    config = f"mmattn::{'/'.join(entry.config.parts[-2:])}"
    own = [one.name for one in weights_of_config(index, config)]
    return ", ".join(f"`{name}`" for name in dict.fromkeys([*own, *entry.weights]))


def readme_table(language: str) -> str:
    """Return the table of a README, "en" or "zh"."""
    rows = []
    for name, one in collections().items():
        words = one["Summary"][language]
        entries = [entry for entry in model_index() if entry.collection == name]
        cells = {"Parameters": _range(entries, language), **words}
        rows.append([f"[{name}]({one['README']})", *(str(cells[key]) for key in _KEYS)])
    return _table(HEADS[language], rows)


def _range(entries: Sequence[ModelEntry], language: str) -> str:
    """Return the least and the most parameters of the models; "1.2 M" where they are the same."""
    counts = [entry.parameters for entry in entries if entry.parameters is not None]
    ends = dict.fromkeys(f"{count / 1e6:.1f} M" for count in (min(counts), max(counts)))
    return next(iter(ends)) if len(ends) == 1 else _RANGE[language].format(*ends)


def with_table(text: str, language: str) -> str:
    """Return the text of a README with its table as it is now."""
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{readme_table(language)}\n\n{END}{after}"


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
    """Return the files that are not what the metafiles say."""
    found = [] if PAGE.is_file() and PAGE.read_text("utf-8") == page() else [PAGE.name]
    for readme, language in READMES.items():
        text = readme.read_text("utf-8")
        if START not in text or text != with_table(text, language):
            found.append(readme.name)
    return found


def main() -> int:
    """Say whether the pages are up to date, or write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the pages")
    if parser.parse_args().update:
        PAGE.write_text(page(), encoding="utf-8")
        for readme, language in READMES.items():
            text = readme.read_text("utf-8")
            readme.write_text(with_table(text, language), encoding="utf-8")
        return 0
    found = stale()
    print(f"not up to date: {', '.join(found)}; run {COMMAND}" if found else "up to date")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
