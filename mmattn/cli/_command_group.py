"""A verb with commands of its own, such as ``mmattn config schema``, each a file in a package.

Such a file has ``EXAMPLES``, ``add_arguments(parser)`` and ``main(args)``, which returns an exit
code or None. ``NOTES``, text below the examples of its help, may be left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from . import _arguments as arguments
from ._run import run


class CommandGroup:
    """The commands of a verb.

    Args:
        package: Package of their files.
        description: What the verb is for, one sentence.
        commands: Command -> what it does, in one line.
    """

    def __init__(self, package: str, description: str, commands: Mapping[str, str]) -> None:
        self._package, self._description, self._commands = package, description, commands

    def parse_args(self, argv: list[str] | None, prog: str) -> argparse.Namespace:
        """Read the command line; ``command`` of the result is the command's name."""
        modules = {name: self._module(name) for name in self._commands}
        examples = "".join(module.EXAMPLES for module in modules.values())
        parser = arguments.new_parser(prog, self._description, examples)
        commands = parser.add_subparsers(
            dest="command",
            metavar="COMMAND",
            required=True,
            help="what to do; COMMAND --help says how",
        )
        for name, module in modules.items():
            text = self._commands[name]
            module.add_arguments(
                commands.add_parser(
                    name,
                    help=text,
                    description=f"{text[0].upper()}{text[1:]}.",
                    epilog=arguments.epilog(
                        module.EXAMPLES.replace("%(prog)s", prog), getattr(module, "NOTES", "")
                    ),
                    formatter_class=argparse.RawDescriptionHelpFormatter,
                )
            )
        return parser.parse_args(argv)

    def main(self, argv: list[str] | None, prog: str) -> int:
        """Run one of the commands; returns the exit code."""
        args = self.parse_args(argv, prog)
        return run(lambda: self._module(args.command).main(args))

    def _module(self, name: str) -> ModuleType:
        return import_module(f"{self._package}.{name}")
