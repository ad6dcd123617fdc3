"""``mmattn data list``: the public datasets that are known by name."""

from __future__ import annotations

import argparse

EXAMPLES = """\
%(prog)s list
%(prog)s list cityscapes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="one of them, with its files, digests and terms (default: a table of all)",
    )


def main(args: argparse.Namespace) -> None:
    """Print the table, or what is known about one dataset."""
    from mmattn.prepare.catalog import card_of
    from mmattn.prepare.table import HEAD, catalog_rows
    from mmattn.prepare.terms import tell
    from mmattn.tables import text_table

    if args.name is None:
        print(text_table(HEAD, catalog_rows()))
        return
    card = card_of(args.name)
    tell(card, print)
    for file in card.files:
        print(f"  {file.name}: {' or '.join(file.digests) or 'no published digest is known'}")
