"""``mmattn weights``: weights by name, from an index that mmattn brings along.

Each is a file in ``weights_commands`` and a row below; ``_command_group.py`` says what the file
holds.
"""

from __future__ import annotations

import argparse

from ._command_group import CommandGroup

#: Command -> what it does, in one line.
WEIGHTS_COMMANDS = {
    "list": "list the names, and which of them are on this disk",
    "show": "show all that is known of weights: sources, digest, licence, quality",
    "pull": "fetch weights into the cache, compare their digest and convert them",
    "verify": "read the files of the cache again and compare their digests",
    "bundle": "write weights as a mirror for machines without network",
}
_GROUP = CommandGroup(
    f"{__package__}.weights_commands",
    "Fetch weights by name, list, verify and bundle them.",
    WEIGHTS_COMMANDS,
)


def parse_args(argv: list[str] | None = None, prog: str = "mmattn weights") -> argparse.Namespace:
    """Read the command line."""
    return _GROUP.parse_args(argv, prog)


def main(argv: list[str] | None = None, prog: str = "mmattn weights") -> int:
    """Run one of the commands; returns the exit code."""
    return _GROUP.main(argv, prog)
