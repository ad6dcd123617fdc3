"""``mmattn weights verify``: read the files of the cache again."""

from __future__ import annotations

import argparse

from mmattn.errors import DigestError

EXAMPLES = """\
%(prog)s verify
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="names of weights (default: all in the cache)"
    )


def main(args: argparse.Namespace) -> int:
    """Print a line for each file; returns 6 where one is not whole."""
    from mmattn.weights import find_entry, verify_cache
    from mmattn.weights.cache import cache_folder

    for name in args.names:
        find_entry(name)
    wrong = count = 0
    for one in verify_cache(args.names):
        count += 1
        wrong += one.problem is not None
        what = f"{one.name}: {one.file}" if one.file else one.name
        print(f"{what}: {one.problem or one.found}")
    print(f"{count - wrong} of {count} files in {cache_folder()} are whole")
    return DigestError.exit_code if wrong else 0
