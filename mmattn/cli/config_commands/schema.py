"""``mmattn config schema``: write a JSON schema of configs, for editors."""

from __future__ import annotations

import argparse
import json

from mmattn.errors import ConfigError

EXAMPLES = """\
%(prog)s schema mmdet --out mmdet.schema.json
%(prog)s schema mmseg --import my_package.blocks --out mmseg.schema.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "scope",
        metavar="SCOPE",
        help="default_scope of the configs: mmdet, mmseg or mmattn; types of the others have a "
        "prefix, such as mmattn.CBAM",
    )
    parser.add_argument(
        "--import",
        dest="imports",
        nargs="+",
        action="extend",
        default=[],
        metavar="MODULE",
        help="Python modules whose types belong to it, as in custom_imports of a config",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="file to write (default: the standard output)"
    )


def main(args: argparse.Namespace) -> None:
    """Write the schema."""
    from importlib import import_module

    from mmattn.io import atomic_write
    from mmattn.preflight.schema import config_schema

    for name in args.imports:
        try:
            import_module(name)
        except ImportError as error:
            raise ConfigError(f"--import {name}: cannot be imported: {error}") from error
    schema = config_schema(args.scope)
    if not args.out:
        print(json.dumps(schema, indent=1))
        return
    try:
        with atomic_write(args.out, "w") as file:
            json.dump(schema, file, indent=1)
    except OSError as error:
        raise ConfigError(f"--out {args.out}: cannot be written: {error.strerror}") from error
    print(f"Wrote {args.out}: {len(schema['$defs'])} definitions, for configs of {args.scope}.")
