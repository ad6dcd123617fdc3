"""A page of images with notes, for commands whose result is pictures, such as an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmattn.reports.overlays import data_uri

from . import components as part
from .page import Report


@dataclass(frozen=True, eq=False)
class Group:
    """A section of such a page.

    Attributes:
        title: Head line.
        images: Caption and pixels, (H, W, 3) uint8 RGB, of each image.
        note: Sentence or two above the images.
        facts: Names and values below them.
    """

    title: str
    images: Sequence[tuple[str, np.ndarray]] = ()
    note: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


def write_gallery(
    path: str | Path,
    title: str,
    groups: Sequence[Group],
    *,
    summary: str = "",
    command: str = "",
    facts: Mapping[str, object] | None = None,
) -> Path:
    """Write groups of images as one file with everything inside.

    Args:
        path: File to write.
        title: Head line.
        groups: Its sections.
        summary: Sentence or two below the head line.
        command: Command line that asked for the page, "" for none.
        facts: Names and values for the end of the page, such as versions.

    Returns:
        The file.
    """
    report = Report(title, summary)
    for group in groups:
        parts: list[str] = []
        if group.note:
            parts.append(part.paragraph(group.note, muted=True))
        if group.images:
            pictures = [(data_uri(pixels, jpeg_quality=88), name) for name, pixels in group.images]
            parts.append(part.gallery(pictures))
        if group.facts:
            parts.append(part.facts(group.facts))
        report.section(group.title, *parts)
    if command:
        report.section("Command", part.code(command))
    if facts:
        report.section("Environment", part.facts(facts))
    return report.write(path)
