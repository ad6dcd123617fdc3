"""The table, the sentences and the lock of a comparison, from results that were made up."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config

from mmattn.compare.host_pairs import disjoint_pairs
from mmattn.compare.lock import (
    check_against_lock,
    code_fingerprint,
    deviations,
    read_lock,
    write_data_manifest,
)
from mmattn.compare.markdown import conclusions
from mmattn.compare.plan import Comparison
from mmattn.compare.report import _write_runs
from mmattn.compare.results import ComparisonResults, Row, _conclude
from mmattn.compare.sentences import controls, sentences
from mmattn.compare.statistics import difference
from mmattn.compare.summary import cost_cells, csv_text, latex_text, summary_cells
from mmattn.compare.variants import Variant
from mmattn.errors import ConfigError, DataError

HOST = "wider host (decode_head.channels=34)"
BASE = (40.0, 40.4, 40.2, 39.8, 40.1)


def a_row(label: str, values, wider: str | None = None, control: bool = False, **more) -> Row:
    """A row over five seeds, with draws of images around each value."""
    drawn, base_drawn = (
        np.asarray(v)[:, None] + np.random.default_rng(0).normal(0, 0.1, (5, 200))
        for v in (values, BASE)
    )
    vs_base = None if label == "none" else difference(values, BASE, drawn, base_drawn)
    by_seed = dict(enumerate(values))
    return Row(by_seed, vs_base, label, control, None, {}, wider=wider, **more)


def results() -> ComparisonResults:
    up = [value + 1 + 0.1 * place for place, value in enumerate(BASE)]
    vs_wider = difference(up, [value + 1.1 for value in BASE])
    rows = [
        a_row("none", BASE),
        a_row("SE_up", up, wider=HOST, vs_wider=vs_wider, ratio=1.25),
        a_row("ECA", [39.9, 40.6, 40.1, 39.9, 40.0]),
        a_row("other seeds", [40.3, 39.9, 40.2, 40.1, 40.0], control=True),
        a_row(HOST, [value + 1.1 for value in BASE], control=True),
    ]
    rows[1].equal_time = a_row("SE_up", [value + 0.2 for value in BASE])
    _conclude(rows)
    entry = {"setting": "decode_head.channels", "before": 32, "adds": 289, "of": ["SE_up"]}
    # Its name begins that of the other one.
    narrower = entry | {"value": 3, "adds": 9, "of": ["CBAM"]}
    comparison = SimpleNamespace(
        controls=True, left_out={}, no_width={"ECA": "it adds no parameters"},
        widenings=[narrower, entry | {"value": 34}],
    )  # fmt: skip
    return ComparisonResults(comparison, "mIoU", rows, {}, {}, {})


def test_each_row_has_its_sentence() -> None:
    first, second = sentences(results())
    assert first.startswith("SE_up: higher than the host without it (+1.20 mIoU, t over 5 seeds [")
    for part in ("images [", "after Holm's correction for 2 rows", "is invisible.",
                 f"It is within noise of the {HOST} (+0.10",
                 "Its step takes 1.25 times as long; in equal time it is +0.20."):  # fmt: skip
        assert part in first, part
    assert second.startswith("ECA: within noise (+0.00 mIoU")


def test_a_run_in_equal_time_without_result_is_told() -> None:
    found = results()
    found.rows[1].equal_time_failures = {1: "the loss of iteration 3 is nan"}
    text = "\n".join(conclusions(found))
    assert "- SE_up in equal time, seed 1: no result, the loss of iteration 3 is nan." in text


def test_a_run_in_equal_time_has_a_row_that_says_so(tmp_path: Path) -> None:
    found = results()
    run = {"commit": "1f", "torch": "2", "threads": "1", "step_seconds": [0.5]}
    found.comparison.iterations, found.comparison.equal_time = 9, {"SE_up": {"iterations": 7}}
    found.runs = {("none", 0): run | {"metrics": {"mIoU": 40.0}}}
    found.shorter = {
        ("SE_up", 0): run | {"metrics": {"mIoU": 41.0}},
        ("SE_up", 1): run | {"failure": "nan"},
    }
    _write_runs(tmp_path / "runs.csv", found)
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("variant", "seed", "equal_time", "iterations", "mIoU", "failure")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("none", "0", "no", "9", "40.0", ""),
        ("SE_up", "0", "yes", "7", "41.0", ""),
        ("SE_up", "1", "yes", "7", "", "nan"),
    ]


def test_blocks_are_corrected_and_controls_are_not() -> None:
    found = results()
    assert [row.verdict.rows for row in found.blocks] == [2, 2]
    assert [row.verdict.rows for row in found.controls] == [1, 1]


def test_controls_say_what_they_are() -> None:
    text = "\n".join(controls(results()))
    assert "other seeds: within noise" in text and "so far do two sets of seeds differ" in text
    assert f"{HOST}: higher" in text
    assert "It has +289 parameters, and is the control of SE_up." in text
    assert "ECA has no wider host beside it: it adds no parameters." in text
    found = results()
    found.comparison.controls = False
    assert "None were trained (--no-controls)" in "\n".join(controls(found))


def test_csv_and_latex_hold_the_same_cells() -> None:
    cells = summary_cells(results())
    read = list(csv.reader(io.StringIO(csv_text(cells))))
    assert read == [cells[0], *cells[1]]
    text = latex_text(cells, "5 seeds, 100 %")
    assert r"\begin{tabular}{l" + "r" * (len(cells[0]) - 1) + "}" in text
    assert r"SE\_up" in text and r"$\pm$" in text and r"100 \%" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert [line.count(" & ") for line in body.strip().splitlines()] == [len(cells[0]) - 1] * 5


def test_costs_are_what_a_variant_adds() -> None:
    found = results()
    cost = {"parameters": 1000, "flops": 2e6, "latency": [0.010, 0.012, 0.020], "step": [0.1],
            "exported": [], "peak_inference": 1e6, "peak_training": 2e6, "saved": 3e6}  # fmt: skip
    found.rows[0].cost = cost
    slower = [seconds + 0.002 for seconds in cost["latency"]]
    found.rows[1].cost = cost | {"parameters": 1010, "flops": 2.5e6, "latency": slower}
    head, rows = cost_cells(found)
    assert rows[0] == ["none", "1,000", "2.0", "10.0 / 12.0", "", "-", "", "100", "1.0", "2.0",
                       "3.0"]  # fmt: skip
    assert rows[1][1:5] == ["+10", "+0.5", "12.0 / 14.0", "+2.00 [+2.00, +2.00]"]
    assert set(rows[2][1:]) == {""} and {len(row) for row in rows} == {len(head)}


def test_a_row_of_the_base_is_empty_where_nothing_is_compared() -> None:
    head, rows = summary_cells(results())
    assert rows[0][0] == "none" and set(rows[0][2:]) == {""}
    assert rows[1][head.index("verdict")] == "higher"
    assert rows[1][head.index("step time")] == "x 1.25"


def a_lock() -> dict:
    return {
        "rows": [
            {"label": "none", "values": {"0": 40.0, "1": 41.0}, "difference": None},
            {"label": "SE", "values": {"0": 41.0, "1": 42.5},
             "difference": {"mean": 1.25, "t_interval": [0.5, 2.0]}},
            {"label": "ECA", "values": {"0": 41.0},
             "difference": {"mean": 0.5, "t_interval": None}},
        ],
        "data": {"train": {"files": 2, "sha256": "0" * 64}},
        "code": {"commit": ["abc"], "sha256": "1" * 64},
        "machine": {"torch": "9.9"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("none", "se", "eca", "inside"),
    [
        (40.5, 1.25, 0.5, [True, True, True]),
        (40.5, 0.5, 0.5, [True, True, True]),
        (90.0, 2.1, 0.6, [False, False, False]),
        (40.5, None, 0.5, [True, False, True]),
    ],
)
def test_a_repetition_is_held_against_the_intervals(none, se, eca, inside) -> None:
    """A mean of the base against its t interval over seeds; one seed against the value itself."""
    report = {
        "variants": [
            {"label": "none", "mean": none, "difference": None},
            {"label": "SE", "difference": None if se is None else {"mean": se}},
            {"label": "ECA", "difference": {"mean": eca}},
        ]
    }
    assert [row.inside for row in deviations(a_lock(), report)] == inside


def test_other_data_are_refused_and_other_code_is_named(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(DataError, match=r"the data of train are not those of the lock \(2 files"):
        check_against_lock(a_lock(), tmp_path, {}, lines.append)
    check_against_lock(a_lock() | {"data": {}}, tmp_path, {"torch": "1.0"}, lines.append)
    assert lines == [
        "The code is not that of the lock (commit abc).",
        "torch: 9.9 in the lock, 1.0 here.",
    ]
    same = a_lock() | {"data": {}, "code": {"commit": [], "sha256": code_fingerprint()}}
    check_against_lock(same, tmp_path, {"torch": "9.9"}, lambda text: pytest.fail(text))


@pytest.mark.parametrize(("match_time", "again"), [(True, True), (False, False)])
def test_a_later_start_without_equal_time_trains_nothing_again(match_time, again) -> None:
    """The steps that an earlier start found out stay in the folder."""
    comparison = Comparison(
        *("a.py", Config(), (Variant("none"), Variant("SE")), (), 2, "9it", Path("work")),
        match_time=match_time, iterations=9, equal_time={"SE": {"ratio": 1.5, "iterations": 6}},
    )  # fmt: skip
    assert comparison.needs_equal_time(Variant("SE")) is again


def test_runs_on_other_data_are_not_added(tmp_path: Path) -> None:
    """Before anything is trained the data may change; then the folder keeps what they were."""
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    report = SimpleNamespace(where="train_dataloader", root=str(tmp_path), files=[str(image)])
    write_data_manifest([report], tmp_path)
    image.write_bytes(b"two")
    write_data_manifest([report], tmp_path)
    before = (tmp_path / "data.json").read_text()
    settings = tmp_path / "runs" / "none" / "seed0" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text("{}")
    write_data_manifest([report], tmp_path)
    image.write_bytes(b"six")
    with pytest.raises(DataError, match=r"(?s)holds runs on other data.*--work-dir.*a\.png"):
        write_data_manifest([report], tmp_path)
    assert (tmp_path / "data.json").read_text() == before


def test_a_file_that_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text('{"version": 99}')
    with pytest.raises(ConfigError, match=r"not a run\.lock of version 1"):
        read_lock(tmp_path / "run.lock")


@pytest.mark.parametrize(("runs", "apart"), [(120, 20), (40, 6), (6, 1)])
def test_the_sides_of_a_pair_have_no_run_in_common(runs: int, apart: int) -> None:
    pairs, independent = disjoint_pairs(runs, 3, 20)
    assert len(pairs) == 20 and independent == apart
    assert all(len({*a, *b}) == 6 for a, b in pairs)
    first = [run for pair in pairs[:independent] for side in pair for run in side]
    assert len(first) == len(set(first)), "these pairs share no run with each other"
    assert max(run for a, b in pairs for run in (*a, *b)) < runs


def test_too_few_runs_for_a_pair() -> None:
    with pytest.raises(ConfigError, match=r"5 runs are finished; a pair of 3 seeds needs 6"):
        disjoint_pairs(5, 3, 20)
