"""A table per class: readable, complete, and honest about classes without ground truth."""

from __future__ import annotations

import math

from mmattn.evaluation import ClassTable

TABLE = ClassTable(
    title="segmentation, %",
    columns=("IoU", "Acc"),
    rows={"sky": (98.123, 99.0), "train": (math.nan, math.nan)},
    mean=(98.123, 99.0),
    absent=frozenset({"train"}),
)


def test_text_says_absent_instead_of_nan() -> None:
    text = TABLE.to_text()
    lines = text.splitlines()
    assert [line for line in lines if "train" in line and "absent in ground truth" in line]
    assert [line for line in lines if "sky" in line and "98.12" in line and "absent" not in line]
    assert [line for line in lines if "mean" in line and "98.12" in line]
    assert "nan" not in text
    assert text.isascii(), "a log may be written in any encoding"


def test_text_is_not_wrapped_however_narrow_the_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    wide = ClassTable("t", ("x" * 40,), {"y" * 40: (1.0,)}, (1.0,))
    assert len(wide.to_text().splitlines()) == 5


def test_records_hold_every_cell_and_the_mean() -> None:
    records = list(TABLE.records())
    assert len(records) == 6
    assert ("sky", "IoU", 98.123) in records
    assert ("mean", "Acc", 99.0) in records


def test_counts_are_whole_and_the_last_row_has_the_name_it_is_given() -> None:
    table = ClassTable(
        "t", ("objects", "AP"), {"cat": (3.0, 0.5)}, (3.0, 0.5),
        digits=3, counts=frozenset({"objects"}), summary="all",
    )  # fmt: skip
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.to_text().splitlines()
    ]
    assert rows[3:] == [["cat", "3", "0.500"], ["all", "3", "0.500"]]
    assert list(table.records())[-1] == ("all", "AP", 0.5)
