"""``mmattn config upgrade``: write a config of mmdet 2.x or mmseg 0.x for today's packages."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mmattn.errors import ConfigError

EXAMPLES = """\
%(prog)s upgrade old_config.py --out new_config.py
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("config", metavar="OLD.py", help="a config of mmdet 2.x or mmseg 0.x")
    parser.add_argument(
        "--out", metavar="NEW.py", help="file to write (default: the standard output)"
    )


def main(args: argparse.Namespace) -> None:
    """Write the new config, and say what was not translated."""
    from mmattn.config_tools.upgrade import upgrade
    from mmattn.io import atomic_write

    if args.out and Path(args.out).suffix != ".py":
        raise ConfigError(f"--out {args.out}: the name must end in .py")
    result = upgrade(args.config)
    text = result.text(Path(args.config).name)
    if args.out:
        try:
            with atomic_write(args.out, "w") as file:
                file.write(text)
        except OSError as error:
            raise ConfigError(f"--out {args.out}: cannot be written: {error.strerror}") from error
        print(f"Wrote {args.out}, made of a config of {result.package}.")
    else:
        print(text, end="")
    shown = sys.stdout if args.out else sys.stderr
    for title, lines in (
        ("not translated", result.left),
        ("wrong in the new config", result.problems),
        ("left out", result.done),
    ):
        for line in lines:
            print(f"{title}: {line}", file=shown)
