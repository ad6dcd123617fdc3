"""``python -m mmattn.ops build`` compiles the operators, ``... doctor`` proves them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import _build


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mmattn.ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="compile what is not compiled yet")
    build.add_argument("ops", nargs="*", help="names of operators (default: all)")
    build.add_argument("--cuda", action="store_true", help="also CUDA, even where there is no GPU")
    build.add_argument("--force", action="store_true", help="compile also what is there already")
    build.add_argument("--jobs", type=int, help="compilers at once (default: one per CPU)")
    build.add_argument("--directory", type=Path, help="default: $MMATTN_OPS_CACHE or your cache")
    doctor = commands.add_parser("doctor", help="show what runs here, check it and time it")
    doctor.add_argument("ops", nargs="*", help="names of operators (default: all)")
    doctor.add_argument("--quick", action="store_true", help="without opcheck and timing")
    args = parser.parse_args(argv)
    if args.command == "build":
        return _run_build(args)
    from ._doctor import examine

    return examine(args.ops or None, quick=args.quick, write=_say)


def _run_build(args: argparse.Namespace) -> int:
    known = {*_build.operators("cpp"), *_build.operators("cuda")}
    if unknown := sorted(set(args.ops) - known):
        _say(f"no sources for {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return 2
    kinds = ["cpp", "cuda"] if args.cuda else None
    outcomes = _build.build(
        args.directory, ops=args.ops or None, kinds=kinds, jobs=args.jobs, force=args.force
    )
    for outcome in outcomes:
        library = outcome.library
        name = f"{library.op} {library.kind} {library.variant}"
        if outcome.path is None:
            _say(f"{name:<44} failed\n{outcome.error}\n")
        else:
            state = f"built in {outcome.seconds:.1f} s" if outcome.seconds else "is there"
            _say(f"{name:<44} {state}")
    failed = sum(outcome.path is None for outcome in outcomes)
    _say(f"libraries are in {args.directory or _build.cache_directory()}")
    if failed:
        _say(f"{failed} of {len(outcomes)} failed; plain torch answers in their place")
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
