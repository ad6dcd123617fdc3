"""Finished trainings side by side: grouped, checked for equal settings, tabulated, plotted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmattn.compare.runs import (
    choose_metric,
    compare_runs,
    differences,
    read_run,
    runs_table,
    unlike_steps,
    write_values,
)
from mmattn.errors import ConfigError


@pytest.fixture
def make_run(tmp_path):
    """Writes what a training leaves in its work dir."""

    def make(folder, network, seed, values, steps=4, metric="mIoU", **more):
        folder = tmp_path / folder
        vis_data = folder / "20260101_000000" / "vis_data"
        vis_data.mkdir(parents=True)
        text = (
            f"model = dict(type={network!r})\nrandomness = dict(seed={seed})\n"
            f"train_cfg = dict(max_iters={steps})\nwork_dir = {str(folder)!r}\n"
        )
        text += "".join(f"{key} = {value!r}\n" for key, value in more.items())
        (folder / f"{network}.py").write_text(text)
        (vis_data / "config.py").write_text(text)
        records = [{"lr": 0.1, "loss": 2.0, "step": 1}]
        records += [{metric: value, "step": 2 * i + 2} for i, value in enumerate(values)]
        (vis_data / "scalars.json").write_text("\n".join(map(json.dumps, records)))
        return folder

    return make


def cells(line):
    """Cells of a line of a Markdown table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_seeds_of_one_config_are_one_row(make_run):
    runs = [
        read_run(make_run("a1", "A", 1, [10.0, 30.0])),
        read_run(make_run("b1", "B", 1, [20.0, 15.0])),
        read_run(make_run("a0", "A", 0, [12.0, 32.0])),
    ]
    table = runs_table(runs, choose_metric(runs, None)).splitlines()
    assert len(table) == 4
    assert cells(table[2])[:-1] == ["A", "0, 1", "4", "31.00 ± 1.41", "32.00, 30.00", "32.00", "4"]
    assert cells(table[3])[:-1] == ["B", "1", "4", "15.00", "15.00", "20.00", "2"]


def test_a_setting_that_differs_is_named_and_the_subject_is_not(make_run):
    same = [read_run(make_run(f"s{i}", "AB"[i], i, [1.0])) for i in range(2)]
    assert differences(same, but=("model",)) == []
    other = read_run(make_run("o", "C", 0, [1.0], steps=9, load_from="w.pth"))
    result = differences([*same, other], but=("model",))
    assert result == ["train_cfg.max_iters", "load_from"]


def test_runs_of_one_name_that_are_not_alike_are_no_seeds_of_it(make_run):
    scratch = read_run(make_run("a", "A", 0, [30.0]))
    tuned = read_run(make_run("b", "A", 1, [70.0], load_from="pretrained.pth"))
    table = runs_table([scratch, tuned], "mIoU").splitlines()
    assert [cells(line)[0] for line in table[2:]] == ["A (a)", "A (b)"]


def test_the_page_tells_settings_values_and_environments_apart(make_run, tmp_path):
    folders = [
        make_run("a", "A", 0, [30.0, 40.0]),
        make_run("b", "A", 1, [35.0, 33.0], load_from="w.pth"),
    ]
    for folder, torch in zip(folders, ("2.1", "2.2"), strict=True):
        report = folder / "20260101_000000" / "report"
        report.mkdir()
        facts = {"kind": "train", "environment": {"versions": {"torch": torch, "numpy": "2"}}}
        (report / "facts.json").write_text(json.dumps(facts))
    compare_runs(folders, out=tmp_path / "out", log=lambda text: None)
    page = (tmp_path / "out/report.html").read_text()
    for expected in (
        "<td>load_from</td><td>-</td><td>w.pth</td>",
        "<td>randomness.seed</td><td>0</td><td>1</td>",
        "<td>torch</td><td>2.1</td><td>2.2</td>",
        "40</td><td class=number>35 (-5)",  # the best values
        "40</td><td class=number>33 (-7)",  # the last ones
    ):
        assert expected in page, expected
    assert "<td>numpy</td>" not in page


def test_a_run_that_stopped_early_is_compared_where_it_stopped(make_run, tmp_path):
    """Seed 0 finished, seed 1 did not: a mean of their last values would be of unlike steps."""
    folders = [
        make_run("s0", "A", 0, [40.0, 60.0]),
        make_run("s1", "A", 1, [41.0]),
    ]
    lines = []
    compare_runs(folders, out=tmp_path / "out", log=lines.append)
    text = lines[0]
    assert "50.50" not in text and "40.50 ± 0.71" in text
    row = cells(text.splitlines()[2])
    assert row[1:5] == ["0, 1", "2", "40.50 ± 0.71", "40.00, 41.00"]
    assert row[5:7] == ["41.00", "2"], "the best is of the steps that both have"
    assert "compared at step 2" in text and "s0 at 4" in text
    assert "s1 is not finished: step 2 of 4" in text
    assert text in (tmp_path / "out/report.md").read_text()


def test_runs_without_a_common_step_are_not_averaged(make_run):
    runs = [read_run(make_run("s0", "A", 0, [40.0, 60.0], steps=4))]
    runs.append(read_run(make_run("s1", "A", 1, [41.0], steps=4)))
    odd = replace(runs[1], metrics={"mIoU": [(3, 41.0)]})
    runs = [runs[0], odd]
    row = cells(runs_table(runs, "mIoU").splitlines()[2])
    assert row[2:5] == ["-", "-", "60.00 at 4, 41.00 at 3"]
    assert "at no common step" in unlike_steps(runs, "mIoU")[0]


def test_networks_at_unlike_steps_are_marked(make_run):
    runs = [read_run(make_run("a", "A", 0, [40.0, 60.0])), read_run(make_run("b", "B", 0, [50.0]))]
    told = " ".join(unlike_steps(runs, "mIoU"))
    assert "b is not finished: step 2 of 4" in told
    assert "unlike steps: A at 4, B at 2" in told


def test_runs_that_end_alike_have_no_remark(make_run):
    runs = [read_run(make_run(f"s{i}", "AB"[i], i, [1.0, 2.0])) for i in range(2)]
    assert unlike_steps(runs, "mIoU") == []


def test_the_best_loss_is_the_smallest(make_run):
    run = read_run(make_run("a", "A", 0, [2.0, 0.5, 0.9], metric="val_loss"))
    assert cells(runs_table([run], "val_loss").splitlines()[2])[-3:-1] == ["0.50", "4"]


def test_all_values_are_written(make_run, tmp_path):
    runs = [read_run(make_run(f"s{i}", "A", i, [1.0, 2.5])) for i in range(2)]
    write_values(tmp_path / "runs.csv", runs)
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert lines[0] == "network,seed,step,metric,value"
    assert lines[1:] == ["A,0,2,mIoU,1.0", "A,0,4,mIoU,2.5", "A,1,2,mIoU,1.0", "A,1,4,mIoU,2.5"]


def test_a_report_is_written(make_run, tmp_path):
    folders = [make_run(f"s{i}", "A", i, [1.0, 2.5]) for i in range(2)]
    folders.append(make_run("b", "B", 0, [3.0, 2.0], steps=8))
    lines = []
    compare_runs(folders, out=tmp_path / "out", command="python tool.py", log=lines.append)
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.startswith("# mIoU of 3 runs\n\n| network |")
    assert "Besides model and seed, these settings differ: train_cfg.max_iters." in text
    assert "Written by `python tool.py`" in text
    assert lines[-1].endswith("report.md")
    assert lines[0] in text


def test_what_is_no_run_or_lacks_the_metric_is_named(make_run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: no run here"):
        read_run(tmp_path / "empty")
    with pytest.raises(ConfigError, match="not been validated"):
        read_run(make_run("young", "A", 0, []))
    runs = [read_run(make_run("seg", "A", 0, [1.0]))]
    with pytest.raises(ConfigError, match=r"no metric 'mIou'\. Did you mean 'mIoU'"):
        choose_metric(runs, "mIou")
    runs.append(read_run(make_run("det", "B", 0, [1.0], metric="coco/bbox_mAP")))
    with pytest.raises(ConfigError, match="no metric in common"):
        choose_metric(runs, None)
