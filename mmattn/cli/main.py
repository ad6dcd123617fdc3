"""The command ``mmattn``: find the command and hand the rest of the line to it."""

from __future__ import annotations

import shlex
import sys
from importlib import import_module

from mmattn.errors import did_you_mean

from . import COMMANDS, RENAMED


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
    command = words[0].replace("-", "_")
    if command in RENAMED:
        new = shlex.join(["mmattn", RENAMED[command], *words[1:]])
        print(f"mmattn: {words[0]} is called {RENAMED[command]} now: {new}", file=sys.stderr)
        return 2
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS)
        print(f"mmattn: unknown command {words[0]!r}.{hint}", file=sys.stderr)
        print("mmattn --help lists the commands.", file=sys.stderr)
        return 2
    return import_module(f"mmattn.cli.{command}").main(words[1:], prog=f"mmattn {command}")


def usage() -> str:
    """Return the help: one line per command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {command:<{width}}  {text}" for command, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mmattn COMMAND [arguments]",
            "",
            "Attention for detection and segmentation, in any network of mmdet, mmseg or timm.",
            "",
            "commands:",
            *lines,
            "",
            "mmattn COMMAND --help shows a command's arguments and examples.",
        ]
    )
