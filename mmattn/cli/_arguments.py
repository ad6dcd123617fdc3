"""Arguments that several commands share, and the parser that they are added to."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from ._parser import WEIGHTS as WEIGHTS
from ._parser import Parser
from ._parser import options_of as options_of
from ._parser import refuse_several_checkpoints as refuse_several_checkpoints


def new_parser(
    prog: str, description: str, examples: str, notes: str = ""
) -> argparse.ArgumentParser:
    """Return a parser whose help ends with examples.

    Args:
        prog: How the command was called, such as ``mmattn train``.
        description: What the command does, one sentence.
        examples: Lines, in which ``%(prog)s`` stands for ``prog``.
        notes: Text below the examples.
    """
    return Parser(
        prog=prog,
        description=description,
        epilog=epilog(examples, notes),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def epilog(examples: str, notes: str = "") -> str:
    """Return the end of a help: examples, then notes."""
    lines = "\n".join(f"  {line}" if line else "" for line in examples.strip().splitlines())
    return f"examples:\n{lines}" + (f"\n\n{notes.strip()}" if notes else "")


def command_line(prog: str, argv: Sequence[str] | None) -> str:
    """Return the command as it was typed, quoted so that a shell reads the same words.

    >>> command_line("mmattn train", ["my config.py", "--cfg-options", "data=a b"])
    "mmattn train 'my config.py' --cfg-options 'data=a b'"
    """
    return f"{prog} {shlex.join(sys.argv[1:] if argv is None else argv)}"


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``config``."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a config file, a name of mmattn models, or package::path of a config that mmdet, "
        "mmseg or mmattn brings along",
    )


def add_allow_partial(parser: argparse.ArgumentParser) -> None:
    """Add ``--allow-partial``."""
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="accept a checkpoint that lacks weights of the model; they stay random",
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``, and take ``key=value`` words without it too."""
    if isinstance(parser, Parser):
        parser.takes_settings = True
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action="extend",
        metavar="KEY=VALUE",
        help="override settings of the config, as KEY=VALUE words without this option do; a list "
        "is KEY=[a,b] (quoted) or KEY=a,b, tuples may be nested, without spaces",
    )


def add_work_dir(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--work-dir``.

    Args:
        parser: Parser of the command.
        what: What goes there, for the help.
    """
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help=f"folder of {what} (default: work_dirs/NAME-OF-THE-CONFIG)",
    )


def add_amp(parser: argparse.ArgumentParser) -> None:
    """Add ``--amp``."""
    parser.add_argument(
        "--amp", action="store_true", help="mixed precision: float16 on a GPU, bfloat16 on a CPU"
    )


def add_no_legend(parser: argparse._ActionsContainer) -> None:
    """Add ``--no-legend``."""
    parser.add_argument(
        "--no-legend",
        action="store_true",
        help="leave out the names of the classes below images of segmentation",
    )


def add_opacity(parser: argparse._ActionsContainer, default: float | None) -> None:
    """Add ``--opacity``.

    Args:
        parser: Parser of the command.
        default: Opacity without the option; None leaves it to the task.
    """
    parser.add_argument(
        "--opacity",
        type=_share,
        default=default,
        metavar="SHARE",
        help="opacity of the colours that are painted over the images, 0 to 1 (default: 0.5"
        + ("; for detection that of mmdet)" if default is None else ")"),
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def add_no_fuse(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add ``--no-fuse``.

    Args:
        parser: Parser of the command.
        verb: What is done with the model, for the help.
    """
    parser.add_argument(
        "--no-fuse",
        action="store_true",
        help=f"{verb} the model as it was trained, not the fused model (normalisation folded into "
        "convolutions and so on)",
    )


def add_manifest(parser: argparse.ArgumentParser) -> None:
    """Add ``--manifest`` and ``--manifest-hashes``."""
    parser.add_argument(
        "--manifest",
        metavar="FILE",
        help="refuse data whose files are not those of FILE, by name and size; mmattn check "
        "--write-manifest writes it",
    )
    parser.add_argument(
        "--manifest-hashes",
        action="store_true",
        help="with --manifest: read every file and compare its SHA-256 as well",
    )


def require_manifest(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with an error where ``--manifest-hashes`` has no manifest."""
    if args.manifest_hashes and not args.manifest:
        parser.error("--manifest-hashes: give the manifest with --manifest FILE")


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher`` and the ``--local-rank`` that some launchers give."""
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm", "mpi"),
        default="none",
        help="launcher that started the processes of a distributed run (default: none)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def set_local_rank(args: argparse.Namespace) -> None:
    """Hand ``--local-rank`` on to mmengine, unless the launcher has set the variable itself."""
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
