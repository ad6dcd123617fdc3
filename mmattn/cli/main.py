"""The command ``mmattn``: find the verb and hand the rest of the line to it."""

from __future__ import annotations

import sys
from importlib import import_module

from mmattn.errors import did_you_mean

from . import VERBS


def main(argv: list[str] | None = None) -> int:
    """Run a verb and return its exit code; 2 for a line without a known verb."""
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
    verb = words[0].replace("-", "_")
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS)
        print(f"mmattn: unknown command {words[0]!r}.{hint}", file=sys.stderr)
        print("mmattn --help lists the commands.", file=sys.stderr)
        return 2
    return import_module(f"mmattn.cli.{verb}").main(words[1:], prog=f"mmattn {verb}")


def usage() -> str:
    """Return the help: one line per verb."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
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
