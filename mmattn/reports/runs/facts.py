"""What a run writes down about itself for its report, as one file of plain data.

Keys, all of them optional: ``kind`` (``train``, ``test``), ``config``, ``task``, ``metric``,
``model``, ``data``, ``environment``, ``start``, ``checkpoint``, ``ended``, ``peak_memory_mib``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmattn.io import atomic_write

#: Folder of what a start keeps for its report, beside ``vis_data``.
FOLDER = "report"
#: The facts, and the sheet of training images as the network saw them, in that folder.
FACTS, BATCHES = "facts.json", "batches.jpg"
#: The page itself.
PAGE = "report.html"


def write_facts(start: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of a start into its folder."""
    with atomic_write(start / FOLDER / FACTS, "w") as file:
        file.write(json.dumps(facts, indent=1, default=str) + "\n")


def read_facts(start: Path) -> dict[str, Any]:
    """Read the facts of a start; empty where it left none, or where they are damaged."""
    try:
        found = json.loads((start / FOLDER / FACTS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
