#!/usr/bin/env python
"""Write docs/blocks: a page for every attention block, from the registry and its docstrings.

Example:
    python -m tests.support.block_pages --update
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path

from tests.support import block_table

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOLDER = DOCS / "blocks"
COMMAND = "python -m tests.support.block_pages --update"
#: Channels, height and width of the maps of a ResNet-50 for an image of 512 x 512.
PLACES = ((256, 128, 128), (512, 64, 64), (1024, 32, 32), (2048, 16, 16))
_REPOSITORY = "../.."


def pages() -> dict[str, str]:
    """Return the text of every page, by file name; ``README.md`` lists the others."""
    found = block_table.blocks()
    texts = {f"{name}.md": page(name, cls) for name, cls in found.items()}
    return {"README.md": index(found), **texts}


def index(found: dict[str, type]) -> str:
    """Return the page that lists all blocks."""
    rows = [f"| [{name}]({name}.md) | {_summary(cls)} | {block_table.paper(cls)} |"
            for name, cls in found.items()]  # fmt: skip
    return "\n".join(
        [
            f"<!-- Written by `{COMMAND}`. -->",
            "# Attention blocks and token mixers",
            "",
            "Every block goes [into any network](../plugins.md) by its name, starts as the",
            'identity with `init="identity"`, is [compared](../compare.md) with others, and is',
            "exported with its network. [Adding one](../add_a_block.md) takes ten minutes.",
            "",
            "| block | what it is | paper |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def page(name: str, cls: type) -> str:
    """Return the page of one block."""
    module = sys.modules[cls.__module__]
    path = cls.__module__.removeprefix("mmattn.").replace(".", "/") + ".py"
    sections = [
        f"<!-- Written by `{COMMAND}`. -->\n# {name}\n\n{_summary(cls)}. "
        f"Paper: {block_table.paper(cls)}; code: [`{path}`]({_REPOSITORY}/{path}).",
        f'```python\nplugins=[dict(cfg=dict(type="mmattn.{name}", init="identity"), '
        "stages=(1, 2, 3))]\n```\n\n"
        "in `mmattn.WithPlugins`, or one of the [other places](../plugins.md).",
        f"## Idea and formula\n\n{_markdown(inspect.cleandoc(module.__doc__ or ''))}",
        f"## Arguments\n\n{arguments(cls)}",
        f"## Where papers put it\n\n{usual_place(cls)}",
        f"## Cost\n\n{cost(name, cls)}",
    ]
    if differences := difference(name):
        sections.append(f"## Differences from other implementations\n\n{differences}")
    sections.append(f"## Results here\n\n{results(name)}")
    return "\n\n".join(sections) + "\n"


def arguments(cls: type) -> str:
    """Return the constructor's arguments as a list, with their defaults."""
    text = inspect.cleandoc(cls.__doc__ or "")
    block = re.search(r"^Args:\n((?: {4}.*\n|\n)+)", text + "\n", re.MULTILINE)
    assert block is not None, cls
    signature = inspect.signature(cls).parameters
    lines = []
    for entry in re.split(r"\n(?= {4}\w)", block[1].rstrip()):
        names, _, said = entry.strip().partition(":")
        first = names.split(",")[0].strip(" *")
        default = signature[first].default if first in signature else inspect.Parameter.empty
        shown = "" if default is inspect.Parameter.empty else f" = `{default!r}`"
        said = re.sub(r"\s*\n\s*", " ", said.strip())
        lines.append(f"- `{names.strip()}`{shown}: {_inline(said)}")
    return "\n".join(lines)


def usual_place(cls: type) -> str:
    """Return where the paper inserts the block, if its class says so."""
    place = getattr(cls, "usual_place", "")
    if place:
        return _inline(place)[0].upper() + _inline(place)[1:] + "."
    return (
        "As the mixing half of a transformer's block, or wherever it is compared: `mmattn slots "
        "CONFIG` lists the places of a network."
    )


def cost(name: str, cls: type) -> str:
    """Return parameters and operations at the places of a ResNet-50."""
    from mmattn.plugins.costs import block_cost

    lines = ["For an image of 512 x 512, after the stages of a ResNet-50; 2 operations per "
             "multiply-add of convolutions and matrix products.", "",
             "| feature map | parameters | GFLOPs |", "| --- | --- | --- |"]  # fmt: skip
    for channels, height, width in PLACES:
        found = block_cost({"type": cls}, channels, height, width, place=name)
        flops = "not counted" if found.flops is None else f"{found.flops / 1e9:.3g}"
        lines.append(f"| {channels} x {height} x {width} | {found.parameters:,} | {flops} |")
    return "\n".join(lines)


def difference(name: str) -> str:
    """Return what docs/plugins.md says of other implementations of the block."""
    guide = block_table.GUIDE.read_text(encoding="utf-8")
    entry = re.search(rf"^- \*\*{name}\*\*\. ((?:.*\n)(?: {{2}}.*\n)*)", guide, re.MULTILINE)
    if entry is None:
        return ""
    text = re.sub(r"\n {2}", "\n", entry[1]).strip()
    return text.replace("](../", f"]({_REPOSITORY}/").replace("](#", "](../plugins.md#")


def results(name: str) -> str:
    """Return links to the measurements of this repository that name the block."""
    pages = [
        path
        for path in sorted((DOCS / "results").glob("*/*.md"))
        if re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))
    ]
    lines = [f"- [{path.parent.name}](../results/{path.parent.name}/{path.name})" for path in pages]
    lines.append("- [inserted into 28 families of networks](../insertions.md)")
    if not pages:
        lines.append("- no accuracy was measured")
    return "\n".join(lines)


def _summary(cls: type) -> str:
    return _inline((cls.__doc__ or "").partition("\n")[0].rstrip("."))


def _inline(text: str) -> str:
    return text.replace("``", "`")


def _markdown(text: str) -> str:
    """Return a docstring as Markdown: its indented formulas are code there, too."""
    lines = [re.sub(r"::$", ":", line) for line in text.splitlines()]
    return _inline("\n".join(lines))


def main() -> int:
    """Say which pages are not up to date, or write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the pages")
    update = parser.parse_args().update
    written = pages()
    old = [path for path in FOLDER.glob("*.md") if path.name not in written]
    stale = [
        name
        for name, text in written.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text("utf-8") != text
    ]
    if not update:
        print("\n".join([*stale, *(f"{path.name}: no such block" for path in old)]))
        return bool(stale or old)
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(written[name], encoding="utf-8")
    for path in old:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
