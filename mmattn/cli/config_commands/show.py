"""``mmattn config show``: print a config with all that it inherits."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from mmattn.errors import ConfigError

from .. import _arguments as arguments

EXAMPLES = """\
%(prog)s show mmdet::retinanet/retinanet_r50_fpn_1x_coco.py --key model.neck
%(prog)s show my_config.py --cfg-options data=data/my_images --resolved
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    arguments.add_config(parser)
    arguments.add_cfg_options(parser)
    parser.add_argument(
        "--key", metavar="KEY", help="print this part alone, such as model.backbone"
    )
    parser.add_argument(
        "--format",
        choices=("py", "json", "yaml"),
        default="py",
        help="how to write it (default: py); JSON and YAML have no tuples, which become lists",
    )
    parser.add_argument(
        "--resolved",
        action="store_true",
        help="print the form that a training runs, and what was changed for it",
    )


def main(args: argparse.Namespace) -> None:
    """Print the config."""
    from mmattn.config import load_config, parse_cfg_options
    from mmattn.config_tools.text import config_text, tuples_in

    cfg = load_config(args.config, parse_cfg_options(args.cfg_options))
    notes: list[str] = []
    if args.resolved:
        from mmattn.engine.resolved import resolve_training

        resolution, left = resolve_training(cfg)
        cfg = resolution.cfg
        notes = [*map(str, resolution.changes), *left]
    settings = cfg.to_dict()
    if args.key:
        settings = part_of(settings, args.key, args.config)
    if args.format == "json":
        for note in notes:
            print(note, file=sys.stderr)
    lost = tuples_in(settings) if args.format != "py" else []
    if lost:
        print(f"{args.format} has no tuples: {len(lost)} became lists", file=sys.stderr)
    text = config_text(settings, args.format, notes)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # ``| head`` has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the interpreter flushes it at its end


def part_of(settings: dict[str, Any], key: str, config: str) -> dict[str, Any]:
    """Return one part of a config under its own name.

    Raises:
        ConfigError: There is no such part; the message offers the nearest.
    """
    from mmattn.config_tools.places import nearest_key, tokens_of, value_at

    found, value = value_at(settings, key)
    if not found:
        raise ConfigError(f"{config}: there is no key {key!r}.{nearest_key(settings, key)}")
    names = [token for token in tokens_of(key) if not token.lstrip("-").isdigit()]
    return {names[-1]: value}
