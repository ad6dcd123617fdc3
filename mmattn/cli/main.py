"""The command ``mmattn``: find the command and hand the rest of the line to it."""

from __future__ import annotations

import sys
from importlib import import_module

from mmattn.errors import did_you_mean

from . import COMMANDS, GROUPS, RENAMED


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code; 2 for a line without a known command."""
    words = sys.argv[1:] if argv is None else argv
    if not words:
        print(usage(), file=sys.stderr)
        return 2
    if words[0] in ("-h", "--help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from mmattn import __version__

        print(f"mmattn {__version__}")
        return 0
    command, *rest = _renamed(words[0].replace("-", "_"), words[0])
    if command not in COMMANDS:
        hint = did_you_mean(command, (*COMMANDS, *RENAMED))
        print(f"mmattn: unknown command {words[0]!r}.{hint}", file=sys.stderr)
        print("mmattn --help lists the commands.", file=sys.stderr)
        return 2
    module = import_module(f"mmattn.cli.{command}")
    return module.main([*rest, *words[1:]], prog=f"mmattn {command}")


def usage() -> str:
    """Return the help: a line for each command, by what it is for."""
    width = max(map(len, COMMANDS))
    groups = []
    for heading, commands in GROUPS.items():
        lines = [f"  {command:<{width}}  {text}" for command, text in commands.items()]
        groups += [f"{heading}:", *lines, ""]
    return "\n".join(
        [
            "usage: mmattn COMMAND [arguments]",
            "",
            "Attention for detection and segmentation, in any network of mmdet, mmseg or timm.",
            "",
            *groups,
            "mmattn COMMAND --help shows a command's arguments and examples.",
        ]
    )


def _renamed(command: str, typed: str) -> tuple[str, ...]:
    """Return the words of a command today; a name of before is answered, and said to be one."""
    if command not in RENAMED:
        return (command,)
    words = RENAMED[command]
    print(f"mmattn {typed} is called mmattn {' '.join(words)} now.", file=sys.stderr)
    return words
