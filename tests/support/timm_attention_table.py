#!/usr/bin/env python
"""Print the table of timm's attention modules in docs/plugins.md.

Example:
    python -m tests.support.timm_attention_table --update
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmattn.models.timm_attention import DIFFERENCES

GUIDE = Path(__file__).resolve().parents[2] / "docs/plugins.md"
COMMAND = "python -m tests.support.timm_attention_table --update"
BEGIN, END = f"<!-- Written by `{COMMAND}`: begin -->", "<!-- end -->"


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| name | what it is, and what differs from the paper |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{name}` | {text} |" for name, text in DIFFERENCES.items())])


def with_table(text: str) -> str:
    """Return the guide's text with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        GUIDE.write_text(with_table(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(table())
