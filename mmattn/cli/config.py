"""``mmattn config``: commands about configs, which run nothing.

Each is a file in ``config_commands``, with ``EXAMPLES``, ``add_arguments(parser)`` and
``main(args)``, and a row below.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

from . import _arguments as arguments
from ._run import run

#: Command -> what it does, in one line.
CONFIG_COMMANDS = {
    "show": "print a config with all that it inherits, or what a training makes of it",
    "explain": "say which file and line set a key, and why that one won",
    "diff": "compare two configs key by key",
    "lint": "find what is wrong or without effect in configs, with file and line",
    "upgrade": "write a config of mmdet 2.x or mmseg 0.x for today's packages",
    "schema": "write a JSON schema, by which an editor checks and completes YAML and JSON configs",
}


def parse_args(argv: list[str] | None = None, prog: str = "mmattn config") -> argparse.Namespace:
    """Read the command line."""
    modules = {name: _module(name) for name in CONFIG_COMMANDS}
    examples = "".join(module.EXAMPLES for module in modules.values())
    parser = arguments.new_parser(prog, "Work on configs; nothing is run.", examples)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help="what to do; COMMAND --help says how"
    )
    for name, module in modules.items():
        text = CONFIG_COMMANDS[name]
        module.add_arguments(
            commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn config") -> int:
    """Run one of the commands; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _module(args.command).main(args))


def _module(name: str) -> ModuleType:
    return import_module(f"{__package__}.config_commands.{name}")
