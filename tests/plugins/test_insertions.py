"""Promise: every block goes into every network without loss; docs/insertions.md is the proof."""

from __future__ import annotations

import re

import pytest

from tests.support import insertion_table
from tests.support.block_table import blocks
from tests.support.insertion_hosts import HOSTS

BLOCKS = list(blocks())
#: Each block in one host, each time another one.
SOME = [(list(HOSTS)[5 * n % len(HOSTS)], block) for n, block in enumerate(BLOCKS)]
ALL = [(host, block) for host in HOSTS for block in BLOCKS]


def ids(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{host}-{block}" for host, block in pairs]


def check(host: str, block: str) -> None:
    cell = insertion_table.measure(host, block)
    assert not cell.failure
    assert cell.identity <= 1e-6


@pytest.mark.parametrize(("host", "block"), SOME, ids=ids(SOME))
def test_a_block_is_inserted_without_loss(host: str, block: str) -> None:
    check(host, block)


@pytest.mark.slow
@pytest.mark.parametrize(("host", "block"), ALL, ids=ids(ALL))
def test_every_block_is_inserted_without_loss(host: str, block: str) -> None:
    check(host, block)


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
def test_a_host_with_a_block_is_exported(host: str) -> None:
    pytest.importorskip("onnxruntime")
    assert insertion_table.export_error(host) < 1e-4


def test_the_page_has_every_block_in_every_host_and_no_failure() -> None:
    rows, exports = insertion_table.read(insertion_table.PAGE.read_text("utf-8"))
    assert len(HOSTS) >= 20
    assert exports.keys() == set(HOSTS)
    assert all(float(line.removeprefix("ONNX: ")) < 1e-4 for line in exports.values())
    missing = sorted({block for host, block in ALL if (host, block) not in rows})
    assert not missing, f"run {insertion_table.COMMAND}; it adds what is missing: {missing}"
    assert rows.keys() == set(ALL), "and drops what is there no longer"
    for (host, block), cells in rows.items():
        parameters, identity = cells.split(" | ")
        assert re.fullmatch(r"[\d,]+", parameters), (host, block, cells)
        assert float(identity) <= 1e-6, (host, block, cells)


def test_a_page_is_read_as_it_was_written() -> None:
    row = str(insertion_table.Cell(1234, 0.0))
    page = f"# Title\n\n## A host\n\n| `SE` | {row} |\n\nONNX: 2e-06\n"
    assert insertion_table.read(page) == (
        {("A host", "SE"): "1,234 | 0"},
        {"A host": "ONNX: 2e-06"},
    )
    assert str(insertion_table.Cell(5, 1e-3, "keys lost")) == "5 | keys lost"
