"""Several trainings side by side: grouped, checked for equal terms, tabulated, drawn."""

from __future__ import annotations

import json

import pytest

from mmattn.compare import runs as comparison
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


def test_seeds_of_one_config_are_one_row(make_run):
    runs = [
        comparison.read_run(make_run("a1", "A", 1, [10.0, 30.0])),
        comparison.read_run(make_run("b1", "B", 1, [20.0, 15.0])),
        comparison.read_run(make_run("a0", "A", 0, [12.0, 32.0])),
    ]
    table = comparison.markdown_table(runs, comparison.choose_metric(runs, None)).splitlines()
    assert len(table) == 4
    assert table[2].startswith("| A | 0, 1 | 31.00 ± 1.41 | 32.00, 30.00 | 32.00 | 4 |")
    assert table[3].startswith("| B | 1 | 15.00 | 15.00 | 20.00 | 2 |")


def test_a_setting_that_differs_is_named_and_the_subject_is_not(make_run):
    same = [comparison.read_run(make_run(f"s{i}", "AB"[i], i, [1.0])) for i in range(2)]
    assert comparison.differences(same, but=("model",)) == []
    other = comparison.read_run(make_run("o", "C", 0, [1.0], steps=9, load_from="w.pth"))
    found = comparison.differences([*same, other], but=("model",))
    assert found == ["train_cfg.max_iters", "load_from"]


def test_runs_of_one_name_that_are_not_alike_are_no_seeds_of_it(make_run):
    scratch = comparison.read_run(make_run("a", "A", 0, [30.0]))
    tuned = comparison.read_run(make_run("b", "A", 1, [70.0], load_from="pretrained.pth"))
    with pytest.raises(ConfigError, match="differ in load_from"):
        comparison.markdown_table([scratch, tuned], "mIoU")


def test_the_best_loss_is_the_smallest(make_run):
    run = comparison.read_run(make_run("a", "A", 0, [2.0, 0.5, 0.9], metric="val_loss"))
    assert "| 0.50 | 4 |" in comparison.markdown_table([run], "val_loss")


def test_all_values_are_written_and_a_image_is_drawn(make_run, tmp_path):
    runs = [comparison.read_run(make_run(f"s{i}", "A", i, [1.0, 2.5])) for i in range(2)]
    comparison.write_csv(tmp_path / "runs.csv", runs)
    lines = (tmp_path / "runs.csv").read_text().splitlines()
    assert lines[0] == "network,seed,step,metric,value"
    assert lines[1:] == ["A,0,2,mIoU,1.0", "A,0,4,mIoU,2.5", "A,1,2,mIoU,1.0", "A,1,4,mIoU,2.5"]
    comparison.draw(tmp_path / "curves.png", runs, "mIoU")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_no_run_or_lacks_the_metric_is_named(make_run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: no run here"):
        comparison.read_run(tmp_path / "empty")
    with pytest.raises(ConfigError, match="not been validated"):
        comparison.read_run(make_run("young", "A", 0, []))
    runs = [comparison.read_run(make_run("seg", "A", 0, [1.0]))]
    with pytest.raises(ConfigError, match=r"no metric 'mIou'\. Did you mean 'mIoU'"):
        comparison.choose_metric(runs, "mIou")
    runs.append(comparison.read_run(make_run("det", "B", 0, [1.0], metric="coco/bbox_mAP")))
    with pytest.raises(ConfigError, match="no metric in common"):
        comparison.choose_metric(runs, None)
