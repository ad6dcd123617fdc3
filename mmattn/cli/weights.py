"""``mmattn weights``: weights by name, from an index that mmattn brings along.

Each command is a file in ``weights_commands``, with ``EXAMPLES``, ``add_arguments(parser)`` and
``main(args)``, and a row below.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from types import ModuleType

from . import _arguments as arguments
from ._run import run

#: Command -> what it does, in one line.
WEIGHTS_COMMANDS = {
    "list": "list the names, and which of them are on this disk",
    "show": "show all that is known of weights: sources, digest, licence, quality",
    "pull": "fetch weights into the cache, compare their digest and convert them",
    "verify": "read the files of the cache again and compare their digests",
    "bundle": "write weights as a mirror for machines without network",
}
NOTES = """\
A name is a checkpoint wherever one is asked for: mmattn test CONFIG NAME, load_from="weights://NAME",
init_cfg=dict(type="Pretrained", checkpoint="weights://NAME").

MMATTN_CACHE            folder of the cache (default: ~/.cache/mmattn)
MMATTN_WEIGHTS_MIRROR   folder, tar file or address that is asked first; bundle writes one
MMATTN_WEIGHTS_INDEX    file with further entries, in the form of mmattn's own
MMATTN_OFFLINE=1        never touch the network
HF_ENDPOINT, HF_TOKEN, http_proxy, https_proxy, no_proxy hold as usual
"""


def parse_args(argv: list[str] | None = None, prog: str = "mmattn weights") -> argparse.Namespace:
    """Read the command line."""
    modules = {name: _module(name) for name in WEIGHTS_COMMANDS}
    examples = "".join(module.EXAMPLES for module in modules.values())
    parser = arguments.new_parser(
        prog, "Fetch weights by name, list, verify and bundle them.", examples, NOTES
    )
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, help="what to do; COMMAND --help says how"
    )
    for name, module in modules.items():
        text = WEIGHTS_COMMANDS[name]
        module.add_arguments(
            commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, prog: str = "mmattn weights") -> int:
    """Run one of the commands; returns the exit code."""
    args = parse_args(argv, prog)
    return run(lambda: _module(args.command).main(args))


def _module(name: str) -> ModuleType:
    return import_module(f"{__package__}.weights_commands.{name}")
