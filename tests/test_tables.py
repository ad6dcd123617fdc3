"""Tables against the lines that they must be."""

from __future__ import annotations

import pytest

from mmattn.tables import markdown_table, text_table

HEAD = ("class", "IoU")
ROWS = (("road", 97.5), ("sky", 8))


def test_a_markdown_table_has_padded_columns() -> None:
    assert markdown_table(HEAD, ROWS).splitlines() == [
        "| class | IoU  |",
        "|-------|------|",
        "| road  | 97.5 |",
        "| sky   | 8    |",
    ]


def test_numbers_can_stand_at_the_right() -> None:
    assert markdown_table(HEAD, ROWS, align="lr").splitlines() == [
        "| class |  IoU |",
        "|-------|-----:|",
        "| road  | 97.5 |",
        "| sky   |    8 |",
    ]


def test_a_bar_in_a_cell_does_not_divide_it_in_markdown() -> None:
    assert markdown_table(["|x|"], [["a|b"]]).splitlines() == [
        r"| \|x\| |", "|-------|", r"| a\|b  |",
    ]  # fmt: skip
    assert text_table(["|x|"], [["a|b"]]).splitlines() == ["|x|", "---", "a|b"]


def test_plain_columns_end_without_spaces() -> None:
    assert text_table(("size", "n", ""), [("traced", 2, "ok"), ("half", 10, "")]).splitlines() == [
        "size    n",
        "------  --  --",
        "traced  2   ok",
        "half    10",
    ]
    assert text_table(HEAD, ROWS, align="lr").splitlines() == [
        "class   IoU",
        "-----  ----",
        "road   97.5",
        "sky       8",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert markdown_table(["a"], []) == "| a |\n|---|"
    assert text_table(["a"], []) == "a\n-"


def test_wide_letters_count_twice() -> None:
    assert text_table(("name", "x"), [("道路", 1)]).splitlines() == [
        "name  x",
        "----  -",
        "道路  1",
    ]


@pytest.mark.parametrize("table", [markdown_table, text_table])
def test_a_wrong_number_of_columns_is_an_error(table) -> None:
    with pytest.raises(ValueError, match=r"\['a'\] has 1 cells, the table 2 columns"):
        table(HEAD, [("a",)])
    with pytest.raises(ValueError, match="expected 2 letters, each l or r"):
        table(HEAD, ROWS, align="lrr")
    with pytest.raises(ValueError, match="each l or r"):
        table(HEAD, ROWS, align="lc")
