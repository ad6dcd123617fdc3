"""``mmattn config lint``: find what is wrong or without effect in configs."""

from __future__ import annotations

import argparse
import sys

from mmattn.errors import ConfigError, MissingPackageError, did_you_mean

EXAMPLES = """\
%(prog)s lint my_config.py
%(prog)s lint configs/*.py --ignore path,schedule-end
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "configs", nargs="+", metavar="CONFIG", help="config files, or package::path"
    )
    parser.add_argument(
        "--select", metavar="RULES", help="judge by these rules alone, with commas between"
    )
    parser.add_argument("--ignore", metavar="RULES", help="rules to leave out")
    parser.add_argument("--list-rules", action="store_true", help="print the rules as well")


def main(args: argparse.Namespace) -> int:
    """Print what was found; returns 1 if there is anything."""
    from mmattn.config_tools.lint import RULES, lint
    from mmattn.tables import text_table

    if args.list_rules:
        print(text_table(["rule", "finds"], [[name, rule[0]] for name, rule in RULES.items()]))
    chosen = rule_names("--select", args.select, RULES) or list(RULES)
    left_out = rule_names("--ignore", args.ignore, RULES)
    rules = [name for name in RULES if name in chosen and name not in left_out]
    found = {}
    for config in args.configs:
        try:
            found.update(dict.fromkeys(map(str, lint(config, rules))))
        except MissingPackageError as error:  # the others are judged all the same
            print(f"{config}: not judged: {error}", file=sys.stderr)
    for line in found:
        print(line)
    return 1 if found else 0


def rule_names(option: str, text: str | None, known: dict) -> list[str]:
    """Read names of rules.

    Raises:
        ConfigError: There is no such rule.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{option} {name}: there is no such rule.{did_you_mean(name, known)} "
                f"There are {', '.join(known)}"
            )
    return names
