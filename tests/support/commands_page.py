"""Write docs/commands.md from the parsers: ``python -m tests.support.commands_page --update``."""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path

from mmattn.cli import COMMANDS, GROUPS, RENAMED
from mmattn.cli._parser import Parser, commands_of, parser_of

PAGE = Path(__file__).resolve().parents[2] / "docs/commands.md"
_HEAD = """\
<!-- Written by `python -m tests.support.commands_page --update`. -->
# Commands

Each command tells its arguments with `--help`, and `mmattn --help` lists them all. This page is
made from the commands themselves.

CONFIG is a file, a name of `mmattn models` (`yolov12-n`, or any config of mmattn, mmdet or mmseg by
its name), a `package::path`, or the folder of a run. Words such as `data=my_images` or
`train_dataloader.batch_size=4` set keys of the config, wherever they stand; `--cfg-options` does
the same. The folder of a run stands for its config and its best checkpoint, else the last, and the
command says which these are.
"""
_TAIL = """\
## Scripts of mmdet and mmseg

[Migrate](migrate.md#scripts-and-flags) lists them beside the commands that do the same.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD]
    for heading, commands in GROUPS.items():
        parts.append(f"## {heading.capitalize()}\n")
        parts += [_section(verb) for verb in commands]
    renamed = ", ".join(f"`{old}` is `{' '.join(new)}`" for old, new in RENAMED.items())
    parts.append(_TAIL)
    parts.append(f"Names of before are still answered, and say the new one: {renamed}.\n")
    return "\n".join(parts)


def _section(verb: str) -> str:
    """Return a command's heading, what it does, and its examples as its help has them."""
    parser = parser_of(import_module(f"mmattn.cli.{verb}").parse_args)
    inner = commands_of(parser)
    lines = [f"### mmattn {verb}\n", _sentence(parser, COMMANDS[verb])]
    for name, one in inner.items():
        lines.append(f"- `{name}`: {(one.description or '').rstrip('.')}")
    return "\n".join([*lines, *([""] if inner else []), "```bash", _examples(parser), "```", ""])


def _sentence(parser: argparse.ArgumentParser, text: str) -> str:
    return " ".join((parser.description or text).split()) + "\n"


def _examples(parser: argparse.ArgumentParser) -> str:
    found = re.match(r"examples:\n(.*?)(?:\n\n|$)", parser.epilog or "", re.DOTALL)
    lines = found[1].splitlines() if found else []
    return "\n".join(line[2:] % {"prog": parser.prog} for line in lines)


def example_lines(verb: str) -> list[str]:
    """Return the examples of a command, one string each, continued lines joined."""
    parser: Parser = parser_of(import_module(f"mmattn.cli.{verb}").parse_args)
    return re.sub(r"\\\n\s*", "", _examples(parser)).splitlines()


def main() -> int:
    """Say whether the page is up to date, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the page")
    if parser.parse_args().update:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page()
    print("docs/commands.md is not up to date" if stale else "docs/commands.md is up to date")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
