"""``python -m mmattn.ops build`` compiles the operators, ``... doctor`` checks and times them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import build as builder


def main(argv: list[str] | None = None) -> int:
    """Run a command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mmattn.ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="compile the operators that are not compiled yet")
    build.add_argument("ops", nargs="*", help="names of operators (default: all)")
    build.add_argument(
        "--cuda", action="store_true", help="compile CUDA sources too, also without a GPU"
    )
    build.add_argument("--force", action="store_true", help="compile all of them again")
    build.add_argument("--jobs", type=int, help="compilers at once (default: one per CPU)")
    build.add_argument(
        "--directory",
        type=Path,
        help="folder for the libraries (default: $MMATTN_OPS_CACHE, or else your cache folder)",
    )
    doctor = commands.add_parser(
        "doctor", help="check and time the backends that run here, on one screen"
    )
    doctor.add_argument("ops", nargs="*", help="names of operators (default: all)")
    doctor.add_argument("--quick", action="store_true", help="leave out opcheck and timing")
    doctor.add_argument(
        "--verbose", action="store_true", help="show every backend, dtype, check and time"
    )
    args = parser.parse_args(argv)
    if args.command == "build":
        return _run_build(args)
    from .doctor import examine

    return examine(args.ops or None, quick=args.quick, verbose=args.verbose, log=_log)


def _run_build(args: argparse.Namespace) -> int:
    known = {*builder.operators("cpp"), *builder.operators("cuda")}
    if unknown := sorted(set(args.ops) - known):
        _log(f"unknown operators: {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
        return 2
    languages = ["cpp", "cuda"] if args.cuda else None
    outcomes = builder.build(
        args.directory, ops=args.ops or None, languages=languages, jobs=args.jobs, force=args.force
    )
    for outcome in outcomes:
        library = outcome.library
        name = f"{library.op} {library.language} {library.variant}"
        if outcome.path is None:
            _log(f"{name:<44} failed\n{outcome.error}\n")
        else:
            state = f"built in {outcome.seconds:.1f} s" if outcome.seconds else "already built"
            _log(f"{name:<44} {state}")
    failed = sum(outcome.path is None for outcome in outcomes)
    _log(f"libraries are in {args.directory or builder.cache_directory()}")
    if failed:
        _log(f"{failed} of {len(outcomes)} failed; plain torch runs in their place")
    return 1 if failed else 0


def _log(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
