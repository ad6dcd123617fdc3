"""Write the catalog in docs/datasets.md: ``python -m tests.support.datasets_page --update``."""

from __future__ import annotations

import sys
from pathlib import Path

from mmattn.prepare.card import DatasetCard
from mmattn.prepare.catalog import CATALOG
from mmattn.prepare.source_file import size_in_words
from mmattn.prepare.table import HEAD, catalog_rows
from mmattn.tables import markdown_table

PAGE = Path(__file__).resolve().parents[2] / "docs/datasets.md"
COMMAND = "python -m tests.support.datasets_page --update"
START, END = f"<!-- Written by `{COMMAND}`: begin -->", "<!-- end -->"


def generated() -> str:
    """Return what stands between the marks of the page."""
    rows = [(f"`{name}`", *cells) for name, *cells in catalog_rows()]
    parts = [markdown_table(HEAD, rows)]
    parts += [_section(card) for card in CATALOG.values()]
    return "\n\n".join(parts)


def _section(card: DatasetCard) -> str:
    lines = [
        f"### {card.name}",
        "",
        f"{card.title}. `data_root` of the configs: `{card.default_root}`; one of them is",
        f"`{card.configs}`.",
        "",
        f"Terms: {card.terms} ([read them]({card.terms_url})).",
        "",
    ]
    for file in card.files:
        digest = " or ".join(f"`{one[:19]}…`" for one in file.digests) or "not known"
        lines.append(f"- `{file.name}`: {size_in_words(file)}; published digest {digest}")
    lines += [f"- {note}" for note in card.notes]
    return "\n".join(lines)


def on_the_page() -> str:
    """Return what the page has there."""
    return PAGE.read_text("utf-8").partition(START)[2].partition(END)[0].strip()


def main() -> int:
    """Say whether the catalog is up to date, or write it."""
    if sys.argv[1:] != ["--update"]:
        stale = on_the_page() != generated()
        print("docs/datasets.md is not up to date" if stale else "docs/datasets.md is up to date")
        return int(stale)
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{generated()}\n\n{END}{after}", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
