"""docs/datasets.md: its catalog is the code's, its commands parse, its configs exist."""

from __future__ import annotations

import re
import shlex

import pytest

from mmattn.cli.data import parse_args
from mmattn.config import find_config
from mmattn.prepare.catalog import CATALOG
from tests.support.datasets_page import COMMAND, PAGE, generated, on_the_page

TEXT = PAGE.read_text("utf-8")
COMMANDS = [
    shlex.split(line, comments=True)[2:]
    for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
]


def test_the_catalog_is_that_of_the_code() -> None:
    assert on_the_page() == generated(), COMMAND


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_are_read(words: list[str]) -> None:
    args = parse_args(words)
    assert getattr(args, "name", None) is None or args.name in CATALOG


def test_names_in_the_text_are_known() -> None:
    names = re.findall(r"mmattn data prepare (\w+)", TEXT)
    assert len(names) > 4 and set(names) <= {*CATALOG, "NAME"}


@pytest.mark.parametrize("name", CATALOG)
def test_configs_exist(name: str) -> None:
    find_config(CATALOG[name].configs)
