"""The code of a Markdown guide: its fenced blocks, with what the text says about each.

A line of the form ``**`path/of/a/file.py`**`` before a block says that the block is that file;
words after it, as in ``**`projects/_register.py`**, one more line``, that it is appended.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)$")
_FILE = re.compile(r"^\*\*`([^`]+)`\*\*(.*)$")


@dataclass(frozen=True)
class CodeBlock:
    """One fenced block.

    Attributes:
        language: As the fence says, ``python`` or ``bash``.
        heading: The nearest heading above it.
        file: The file that it is, or None.
        appended: Whether it belongs to the end of that file.
        code: Its text.
        line: The line of the guide that its first line is, from 1.
    """

    language: str
    heading: str
    file: str | None
    appended: bool
    code: str
    line: int

    @property
    def commands(self) -> list[str]:
        """The command lines of a ``bash`` block, continued lines joined, comments left out."""
        joined = re.sub(r"\\\n\s*", "", self.code)
        return [line for line in joined.splitlines() if line and not line.startswith("#")]


def read_code_blocks(path: Path) -> list[CodeBlock]:
    """All fenced blocks of a guide, in order."""
    blocks: list[CodeBlock] = []
    heading = said = ""
    inside: list[str] | None = None
    language, start = "", 0
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if inside is not None:
            if line != "```":
                inside.append(line)
                continue
            name = _FILE.match(said)
            file, appended = (name[1], bool(name[2])) if name else (None, False)
            code = "\n".join(inside) + "\n"
            blocks.append(CodeBlock(language, heading, file, appended, code, start))
            inside, said = None, ""
        elif fence:
            inside, language, start = [], fence[1], number + 1
        elif line.startswith("#"):
            heading, said = line.lstrip("# "), ""
        elif line:
            said = line
    assert inside is None, f"{path}: the fence before line {start} is not closed"
    return blocks
