"""``mmattn data``: commands about datasets.

Each is a file in ``data_commands`` and a row below; ``_command_group.py`` says what the file holds.
"""

from __future__ import annotations

import argparse

from ._command_group import CommandGroup

#: Command -> what it does, in one line.
DATA_COMMANDS = {
    "list": "list the public datasets that are known by name, with size, terms and account",
    "prepare": "fetch or take the archives of a public dataset, verify, unpack, convert, check",
    "check": "check the folder of a public dataset again",
    "browse": "draw what a training sees: augmented samples with boxes and masks",
    "shapes": "write the generated shapes dataset: images, label maps, COCO and COCO panoptic "
    "annotations",
}
_GROUP = CommandGroup(f"{__package__}.data_commands", "Work on datasets.", DATA_COMMANDS)


def parse_args(argv: list[str] | None = None, prog: str = "mmattn data") -> argparse.Namespace:
    """Read the command line."""
    return _GROUP.parse_args(argv, prog)


def main(argv: list[str] | None = None, prog: str = "mmattn data") -> int:
    """Run one of the commands; returns the exit code."""
    return _GROUP.main(argv, prog)
