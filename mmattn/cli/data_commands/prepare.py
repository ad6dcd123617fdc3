"""``mmattn data prepare``: put a public dataset where the configs look for it."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
%(prog)s prepare coco2017 --root data/coco --subset 200
%(prog)s prepare cityscapes --root data/cityscapes --from ~/Downloads --accept-terms
"""
NOTES = """\
NAME is one of mmattn data list. Archives are looked for in --from, fetched otherwise, compared with
the published digests, unpacked, converted and checked; dataset.json, written last, says what is
there. The same command goes on where it was killed. Datasets that ask for an account are never
fetched: the command says which files to get, and takes them with --from.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", metavar="NAME", help="name of the dataset, as in mmattn data list")
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="folder of the dataset, afterwards data_root of a config (default: the folder that "
        "the configs expect, such as data/coco)",
    )
    parser.add_argument(
        "--from",
        dest="given",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="archives that are there already, folders with them, or folders that they were "
        "unpacked into; they are only read",
    )
    parser.add_argument(
        "--subset",
        metavar="PART",
        help="a part of each split, such as 1%% or 200 images: always the same ones, and of boxes "
        "and instance masks rare classes as often as frequent ones where possible",
    )
    parser.add_argument(
        "--accept-terms",
        action="store_true",
        help="accept the terms of the dataset, which are shown; without it they are asked for",
    )
    parser.add_argument(
        "--full-check",
        action="store_true",
        help="look at the size of every image and the values of every mask afterwards; without it, "
        "at 64 and 32 of each split",
    )
    parser.add_argument(
        "--keep-archives",
        action="store_true",
        help="keep what was fetched in DIR/archives (default: deleted when all is done)",
    )
    parser.add_argument(
        "--allow-other-digests",
        action="store_true",
        help="take archives of --from whose digest is not the published one, such as those that "
        "were packed again; dataset.json says so. What is fetched has to be the published one",
    )


def main(args: argparse.Namespace) -> None:
    """Prepare the dataset."""
    from mmattn.prepare import Wishes, parse_subset, prepare
    from mmattn.prepare.catalog import card_of
    from mmattn.prepare.terms import terminal

    card = card_of(args.name)
    wishes = Wishes(
        given=tuple(Path(path).expanduser() for path in args.given),
        subset=parse_subset(args.subset),
        accept_terms=args.accept_terms,
        full_check=args.full_check,
        keep_archives=args.keep_archives,
        allow_other_digests=args.allow_other_digests,
    )
    root = args.root or card.default_root
    prepare(card.name, root, wishes, ask=terminal(), say=lambda line: print(line, flush=True))
    if "/_base_/" in card.configs or "::_base_/" in card.configs:
        print(f"Configs that inherit from {card.configs} train on it, with data_root={root!r}.")
    else:
        print(f"Train on it: mmattn train {card.configs} data_root={root}")
