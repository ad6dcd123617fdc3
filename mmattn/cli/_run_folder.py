"""Arguments that may be the folder of a run, instead of a config and a checkpoint."""

from __future__ import annotations

import argparse
import os

from mmattn.config.run_folders import CHOICES, find_run, is_run
from mmattn.errors import ConfigError

from ._parser import WEIGHTS


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add ``config`` and ``checkpoint``, of which the latter may be left out behind a folder."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="the folder of a run; or a config file, a name of mmattn models, or package::path of "
        "a config that mmdet, mmseg or mmattn brings along",
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="weights of the model, .pth, .safetensors or a name of mmattn weights list; behind "
        "the folder of a run also best or last (default there: the best, else the last)",
    )


def use_run(args: argparse.Namespace) -> None:
    """Put the files of a run in the place of its folder, and print which they are.

    Args:
        args: Arguments with ``config`` and ``checkpoint``, changed in place; ``work_dir``, where
            the command has one, becomes the folder.

    Raises:
        ConfigError: The folder is none of a run, or has several configs; or there is a config and
            no checkpoint.
        CheckpointError: The run has no such checkpoint.
    """
    if args.checkpoint is None and not os.path.isdir(args.config):
        raise ConfigError(
            f"{args.config}: give its weights behind it, CONFIG CHECKPOINT; only the folder of a "
            "run, work_dirs/NAME, has its own."
        )
    if not is_run(args.config) and not (os.path.isdir(args.config) and args.checkpoint is None):
        return
    if args.checkpoint is not None and not _is_choice(args.checkpoint):
        return  # a file: find_config takes the folder for its config
    folder = args.config
    found = find_run(folder, args.checkpoint or "")
    print(found.told)
    args.config, args.checkpoint = str(found.config), str(found.checkpoint)
    if getattr(args, "work_dir", "") is None:
        args.work_dir = folder


def split_model(words: list[str]) -> tuple[str, str | None, list[str]]:
    """Split ``CONFIG CHECKPOINT IMAGE ...`` or ``RUN IMAGE ...`` into the three.

    Returns:
        Config or folder; the checkpoint, None where the run's own is meant; the images.
    """
    first, *rest = words
    if is_run(first):
        named = bool(rest) and (rest[0].lower().endswith(WEIGHTS) or _is_choice(rest[0]))
        return first, rest[0] if named else None, rest[1:] if named else rest
    return first, rest[0] if rest else None, rest[1:]


def _is_choice(word: str) -> bool:
    """Return whether a word is best or last, and no file of that name."""
    return word in CHOICES and not os.path.exists(word)
