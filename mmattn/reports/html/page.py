"""A report as one HTML file with everything inside, readable without a network and years later."""

from __future__ import annotations

import re
from pathlib import Path

from mmattn.io import atomic_write

from .components import Html, text
from .style import CSS

#: Sections from which on a page has a list of its contents.
_LISTED = 4


class Report:
    """Collects parts from ``mmattn.reports.html.components`` and writes them as one page.

    A page of several sections has a list of them, at the left or, where it is narrow, at the top.

    Args:
        title: Head line.
        summary: Sentence or two below it.

    Example:
        >>> report = Report("CCNet on shapes", "What was run and what came out.")
        >>> report.add(cards([("mIoU", "81.2", "validation")]))        # doctest: +SKIP
        >>> report.section("Curves", plot(...))                        # doctest: +SKIP
        >>> report.write("report.html")                                # doctest: +SKIP
    """

    def __init__(self, title: str, summary: str = "") -> None:
        self.title = title
        self.summary = summary
        self.footer = ""
        self._body: list[str] = []
        self._contents: dict[str, str] = {}

    def add(self, part: Html) -> None:
        """Add a part over the full width of the page."""
        self._body.append(part)

    def section(self, title: str, *parts: str) -> None:
        """Add a section that holds ``parts``."""
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        if name in self._contents:
            name = f"{name}-{len(self._contents) + 1}"
        self._contents[name] = title
        self._body.append(f'<section id="{name}"><h2>{text(title)}</h2>{"".join(parts)}</section>')

    def html(self) -> str:
        """Return the text of the page."""
        footer = f"<footer>{text(self.footer)}</footer>" if self.footer else ""
        contents = self._list_of_contents()
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{text(self.title)}</title><style>{CSS}</style></head>\n"
            f'<body><a class="skip" href="#content">Skip the list of contents</a>'
            f'<div class="page{" listed" if contents else ""}">{contents}<main id="content">'
            f"<header><h1>{text(self.title)}</h1><p>{text(self.summary)}</p></header>\n"
            + "\n".join(self._body)
            + f"\n{footer}</main></div></body></html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the page to ``path``."""
        with atomic_write(path) as file:
            file.write(self.html().encode())
        return Path(path)

    def _list_of_contents(self) -> str:
        if len(self._contents) < _LISTED:
            return ""
        lines = (
            f'<li><a href="#{name}">{text(title)}</a></li>'
            for name, title in self._contents.items()
        )
        return f'<nav aria-label="Contents"><b>Contents</b><ol>{"".join(lines)}</ol></nav>'
