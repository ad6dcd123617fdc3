"""``mmattn completion``: print a script by which a shell completes the command."""

from __future__ import annotations

import argparse

from . import _arguments as arguments
from ._run import run

EXAMPLES = """\
source <(%(prog)s bash)            # now; in ~/.bashrc for every shell
source <(%(prog)s zsh)
%(prog)s fish > ~/.config/fish/completions/mmattn.fish
"""
NOTES = """\
Completed are commands, options and their choices, names of models, and files. The script holds all
of these words: make it anew after an update.
"""
#: Shells, as in ``_completion.SCRIPTS``.
SHELLS = ("bash", "zsh", "fish")


def parse_args(
    argv: list[str] | None = None, prog: str = "mmattn completion"
) -> argparse.Namespace:
    """Read the command line."""
    parser = arguments.new_parser(
        prog, "Print a script by which a shell completes this command.", EXAMPLES, NOTES
    )
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn completion") -> int:
    """Print the script; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _print(args.shell))


def _print(shell: str) -> None:
    from ._completion import SCRIPTS, command_words, model_names

    print(SCRIPTS[shell](command_words(), model_names()), end="")
