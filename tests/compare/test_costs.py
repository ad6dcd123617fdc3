"""Promises: costs are measured in another process, which gives its memory back; one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mmattn.compare.costs as costs
from mmattn.compare import compare
from mmattn.compare.alone import alone_in
from mmattn.compare.costs import CostJob, measure_apart
from mmattn.errors import ConfigError, DataError, MMAttnError
from mmattn.io.inert_pickle import DamagedPickleError

JOB = CostJob("base.py", {"none": "none.py"}, {"none": "none.pth"}, "cpu", 1)


def answering(said: dict | None, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an answer in the place of the process."""

    def answer(folder: Path) -> int:
        (folder / "console.txt").write_text("last words\n")
        if said is not None:
            (folder / "costs_result.json").write_text(json.dumps(said))
        return code

    monkeypatch.setattr(costs, "_run", answer)


def test_an_error_of_the_process_keeps_its_class(tmp_path: Path, monkeypatch) -> None:
    answering({"error": "DataError", "text": "a.png is broken"}, 0, monkeypatch)
    with pytest.raises(DataError, match=r"^a\.png is broken$"):
        measure_apart(JOB, tmp_path, print)
    assert [file.name for file in tmp_path.iterdir()] == ["console.txt"]


def test_an_error_that_is_derived_from_one_of_ours_has_the_name_of_that() -> None:
    assert costs._class_name(DamagedPickleError("a.pth")) == "CheckpointError"


def test_what_this_process_cannot_build_either_is_told(tmp_path: Path, monkeypatch) -> None:
    answering({"unbuilt": "no such folder"}, 0, monkeypatch)

    def fail(job: CostJob) -> dict:
        raise costs.UnbuiltError("no such folder")

    monkeypatch.setattr(costs, "measure_job", fail)
    with pytest.raises(MMAttnError, match=r"no such folder; .*console\.txt"):
        measure_apart(JOB, tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("code", "said"), [(-9, "was ended by SIGKILL, as of a machine that is out"), (1, "code 1")]
)
def test_a_process_that_dies_is_told(code: int, said: str, tmp_path: Path, monkeypatch) -> None:
    answering(None, code, monkeypatch)
    with pytest.raises(MMAttnError, match=f"(?s){said}.*last words"):
        measure_apart(JOB, tmp_path, print)


def test_what_a_script_has_registered_is_measured_here(tmp_path: Path, monkeypatch) -> None:
    answering({"unbuilt": "MyBlock is not in the registry"}, 0, monkeypatch)
    monkeypatch.setattr(costs, "measure_job", lambda job: {"costs": job.threads})
    lines: list[str] = []
    assert measure_apart(JOB, tmp_path, lines.append) == {"costs": 1}
    assert lines == [
        "Measuring in this process, since a new one cannot build all: MyBlock is not in the "
        "registry"
    ]


def test_a_second_comparison_in_a_folder_is_refused(
    fcn: Callable[..., dict], tmp_path: Path
) -> None:
    """Before it writes anything there."""
    with (
        alone_in(tmp_path / "work"),
        pytest.raises(ConfigError, match=r"work: another process is comparing.*--work-dir"),
    ):
        compare(**fcn())
    assert [file.name for file in (tmp_path / "work").iterdir()] == [".running"]
    with alone_in(tmp_path / "work"):
        pass


@pytest.mark.slow
def test_counts_are_those_of_this_process(fcn: Callable[..., dict], tmp_path: Path) -> None:
    """And memory: all that no clock decides."""
    lines: list[str] = []
    compare(**fcn(budget="2it", seeds=1) | {"log": lines.append})
    assert not any("in this process" in line for line in lines)
    work = tmp_path / "work"
    told = json.loads((work / "costs.json").read_text())
    job = CostJob(
        base=str(work / "base.py"),
        configs={label: str(work / f"configs/{label}.py") for label in ("none", "SE")},
        weights=dict.fromkeys(("none", "SE"), str(work / "initial_weights/seed0.pth")),
        device="cpu",
        threads=1,
    )
    here = costs.measure_job(job)
    for label in ("none", "SE"):
        for key in ("parameters", "flops", "saved", "peak_inference"):
            assert told["costs"][label][key] == here["costs"][label][key], (label, key)
        assert len(told["costs"][label]["step"]) == len(here["costs"][label]["step"])
    assert told["image"] == here["image"] and told["batch_size"] == here["batch_size"]
