"""The whole of it: checks that stop early, runs, a report that says what was measured."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmattn.compare import compare
from mmattn.compare.train_variant import run_variant
from mmattn.errors import ConfigError
from tests.support.comparison_configs import FCN, RANDOM, RETINANET


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> dict:
    """A comparison of one block over two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHAPES_ROOT", str(shapes))
        work, lines = tmp_path_factory.mktemp("compare"), []
        arguments = {
            "config": FCN, "insert": "none,SE", "at": ["backbone.layer3"],
            "budget": "2it", "seeds": 2, "work_dir": str(work), "cfg_options": dict(RANDOM),
            "command": "mmattn compare …", "controls": False, "match_time": False,
        }  # fmt: skip
        compare(**arguments, log=lines.append)
    return {"work": work, "lines": lines, "arguments": arguments}


@pytest.mark.slow
def test_the_report_is_what_the_runs_gave(finished: dict) -> None:
    """Mean, spread and paired differences, recomputed from the runs' own files."""
    work = finished["work"]
    report = json.loads((work / "report.json").read_text())
    values = {}
    for label in ("none", "SE"):
        values[label] = []
        for seed in range(2):
            run = work / "runs" / label / f"seed{seed}"
            hit, union = np.load(run / "areas.npz")["areas"].sum(axis=0)[:2]
            miou = 100 * np.nanmean(np.where(union, hit / np.maximum(union, 1), np.nan))
            logged = json.loads((run / "result.json").read_text())["metrics"]["mIoU"]
            assert miou == pytest.approx(logged, abs=0.0051), "mmengine's number is rounded"
            values[label].append(miou)
    by_label = {row["label"]: row for row in report["variants"]}
    assert list(by_label) == ["none", "SE"]
    for label, row in by_label.items():
        assert list(row["values"].values()) == pytest.approx(values[label])
        assert row["mean"] == pytest.approx(np.mean(values[label]))
        assert row["std"] == pytest.approx(np.std(values[label], ddof=1))
        if label != "none":
            expected = np.subtract(values[label], values["none"])
            assert row["difference"]["per_seed"] == pytest.approx(list(expected))
            low, high = row["difference"]["image_interval"]
            assert low <= row["difference"]["mean"] <= high
    # SE on 32 channels with reduction 16: two layers of 32 x 2, biases 2 and 32.
    added = by_label["SE"]["cost"]["parameters"] - by_label["none"]["cost"]["parameters"]
    assert added == 2 * 32 * 2 + 2 + 32


@pytest.mark.slow
def test_the_page_has_what_a_reader_needs(finished: dict) -> None:
    text = (finished["work"] / "report.md").read_text()
    assert "| variant " in text
    for label in ("none", "SE"):
        assert f"| {label} " in text
    assert re.search(
        r"- SE: (within noise|higher|lower).*t over 2 seeds .*, images \[.*, p \d.*is invisible",
        text,
    )
    assert "None were trained (--no-controls)" in text
    for name in ("table.csv", "table.tex", "differences.png", "run.lock"):
        assert (finished["work"] / name).stat().st_size > 0, name
    for fact in ("mmattn compare …", "commit of the runs", "threads of the runs: 1",
                 "commit of times and memory: ",
                 "budget: 2it, 2 iterations",
                 "8 training and 4 validation images", "- torch: ", "processor"):  # fmt: skip
        assert fact in text, fact
    assert (finished["work"] / "accuracy_latency.png").read_bytes().startswith(b"\x89PNG")
    with (finished["work"] / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [
        ("none", "0"), ("none", "1"), ("SE", "0"), ("SE", "1"),
    ]  # fmt: skip
    assert all(float(row["mIoU"]) >= 0 for row in rows)


@pytest.mark.slow
def test_progress_is_logged(finished: dict) -> None:
    lines = finished["lines"]
    assert "Checking 2/2: SE at backbone.layer3" in lines
    assert any(re.fullmatch(r"\[4/4\] SE seed 1: mIoU \S+  \d+ s", line) for line in lines)
    assert lines[-1].startswith("Wrote ")
    assert "Iter(train)" in (finished["work"] / "runs/SE/seed0/console.txt").read_text()


@pytest.mark.slow
def test_the_same_command_trains_nothing_and_more_names_are_added(finished: dict) -> None:
    """Results that are there are kept, whatever is added."""
    kept = {file: file.stat().st_mtime_ns for file in finished["work"].rglob("result.json")}
    assert len(kept) == 4
    lines: list[str] = []
    compare(**{**finished["arguments"], "insert": "SE,SimAM", "seeds": 1}, log=lines.append)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert any("SE seed 0" in line and "was finished before" in line for line in lines)
    assert any(re.match(r"\[3/3\] SimAM seed 0: mIoU", line) for line in lines)
    text = (finished["work"] / "report.md").read_text()
    assert "| SimAM " in text
    assert "one seed: no conclusion possible" in text


@pytest.mark.slow
def test_a_report_alone_trains_nothing(finished: dict, tmp_path: Path) -> None:
    lines: list[str] = []
    path = compare(
        **finished["arguments"],
        report_only=True,
        out=str(tmp_path),
        log=lines.append,
        metric="aAcc",
    )
    assert path == tmp_path / "report.md"
    assert "aAcc, mean" in path.read_text()
    assert not any("Checking" in line for line in lines)
    with pytest.raises(ConfigError, match=r"--metric mIou: .* Did you mean 'mIoU'\?"):
        compare(**finished["arguments"], report_only=True, metric="mIou")


@pytest.mark.slow
def test_a_run_that_was_stopped_behind_its_last_step_has_no_time(
    finished: dict, tmp_path: Path
) -> None:
    """The start that evaluates it takes no step: the cell is empty, and the page says why."""
    work = shutil.copytree(finished["work"], tmp_path / "work")
    (work / "runs/SE/seed1/result.json").unlink()
    arguments = finished["arguments"] | {"work_dir": str(work), "log": lambda text: None}
    text = compare(**arguments).read_text()
    with (work / "runs.csv").open(newline="") as file:
        times = [row["seconds_per_step"] for row in csv.DictReader(file)]
    assert times[3] == "" and all(float(time) > 0 for time in times[:3])
    assert "- No seconds_per_step in runs.csv for SE seed 1: stopped after" in text
    assert "No seconds_per_step" not in (finished["work"] / "report.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": "6it"}, r"budget was '2it' and is '6it'.*another --work-dir"),
        ({"at": ["backbone.layer2"]}, r"at was \['backbone.layer3'\] and is \['backbone.layer2'\]"),
        (
            {"cfg_options": {**RANDOM, "optim_wrapper.optimizer.lr": 0.5}},
            r'the config differs: -"lr": 0.05,, \+"lr": 0.5,',
        ),
    ],
)
@pytest.mark.slow
def test_other_settings_are_refused(finished: dict, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(**finished["arguments"] | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # Base channels 8: layer3 has 32, layer2 16.
        ({"at": ["backbone.layer9"]}, r"^SE at backbone.layer9: .*matches no submodule.*layer3"),
        (
            {"insert": "SE,ELA-T", "at": ["backbone.layer2"]},
            r"^ELA-T at backbone.layer2: .*16 channels.*ELA-T",
        ),
        pytest.param(
            {"insert": "CBAM(reductoin=8)"},
            r"^CBAM\(reductoin=8\) at .*Did you mean 'reduction'",
            marks=pytest.mark.slow,
        ),
        ({"insert": "CBAN"}, r"Did you mean 'CBAM'"),
        ({"metric": "mIuo"}, r"--metric mIuo: .*Did you mean 'mIoU'\? It has aAcc, mAcc, mIoU"),
        pytest.param(
            # Its untrained network finds nothing, for which COCO's metric has no names.
            {
                "config": RETINANET,
                "at": ["backbone.layer3"],
                "metric": "coco/bbox_maP",
                "cfg_options": {},  # the usual ones are of a segmentor
            },
            r"--metric coco/bbox_maP: .*Did you mean 'coco/bbox_mAP'",
            marks=pytest.mark.slow,
        ),
        ({"seeds": 0}, r"--seeds 0"),
        ({"data_root": "nowhere"}, r"nowhere"),
        ({"report_only": True}, r"holds no comparison yet"),
    ],
)
def test_a_mistake_stops_before_anything_is_trained(
    fcn: Callable[..., dict], tmp_path: Path, changes: dict, message: str
) -> None:
    from mmattn.errors import MMAttnError

    with pytest.raises(MMAttnError, match=message):
        compare(**fcn(**changes))
    assert not (tmp_path / "work" / "runs").exists()


@pytest.mark.slow
def test_a_mistake_or_a_dry_run_binds_nobody(fcn: Callable[..., dict]) -> None:
    """Nothing was trained, so there is nothing that other settings could not be compared with."""
    with pytest.raises(ConfigError, match=r"layr3"):
        compare(**fcn(at=["backbone.layr3"], dry_run=True))
    compare(**fcn(at=["backbone.layer2"], dry_run=True))
    compare(**fcn(budget="3it", dry_run=True))


def test_without_any_metric_there_is_an_error_that_says_so() -> None:
    """A detector that finds nothing gives none."""
    from mmattn.compare.plan import choose_metric

    comparison = SimpleNamespace(metric=None, config="a.py", cfg={})
    with pytest.raises(ConfigError, match=r"a\.py: the evaluator returned no metric"):
        choose_metric(comparison, {})
    assert choose_metric(comparison, {"first": 1.0}) == "first"


@pytest.mark.slow
def test_a_place_that_the_loss_does_not_see_is_refused(fcn: Callable[..., dict]) -> None:
    """The head takes the last map; a block on the first one would be compared with itself."""
    insert = {"insert": "SE", "at": ["backbone.layer4"], "cfg_options": {
        **RANDOM, "model.decode_head.in_index": 0, "model.decode_head.in_channels": 8,
    }}  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"SE at backbone.layer4: the inserted block receives no gradient"
    ):
        compare(**fcn(**insert))


@pytest.mark.slow
def test_a_dry_run_writes_configs_that_can_be_trained(fcn: Callable[..., dict]) -> None:
    from mmattn.config import load_config
    from mmattn.inference import build_model

    arguments = fcn(dry_run=True, at=["backbone"])
    assert compare(**arguments) is None
    written = Path(arguments["work_dir"], "configs")
    assert sorted(file.name for file in written.iterdir()) == ["SE.py", "none.py"]
    assert not Path(arguments["work_dir"], "runs").exists()
    model = build_model(load_config(written / "SE.py"))
    assert len(model.backbone.plugins) == 4, "one block for each map"


@pytest.mark.slow
def test_a_time_is_turned_into_iterations_once(fcn: Callable[..., dict]) -> None:
    """The second start takes the number of the first, whatever the machine does meanwhile."""
    arguments = fcn(budget="2s", seeds=1, dry_run=True)
    lines: list[str] = []
    compare(**arguments | {"log": lines.append})
    told = next(line for line in lines if line.startswith("2s are "))
    file = Path(arguments["work_dir"], "comparison.json")
    content = json.loads(file.read_text())
    assert f"{content['iterations']} iterations" in told
    assert content["iterations"] >= 1
    config = Path(arguments["work_dir"], "configs", "SE.py").read_text()
    assert f"max_iters={content['iterations']}" in config
    compare(**arguments)
    assert json.loads(file.read_text())["iterations"] == content["iterations"]


@pytest.mark.slow
def test_a_killed_comparison_goes_on(repo: Path, shapes: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of a run; the same command gives what an undisturbed one gives."""
    command = [sys.executable, repo / "tools/compare.py", FCN, "--insert", "CBAM"]
    command += ["--at", "backbone.layer3", "--seeds", "1", "--budget", "40it", "--no-controls"]
    command += ["--no-equal-time", "--work-dir"]
    work = tmp_path / "killed"
    process = subprocess.Popen([*command, work], stdout=subprocess.DEVNULL)
    mark = work / "runs" / "CBAM" / "seed0" / "last_checkpoint"
    deadline = time.monotonic() + 300
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not mark.with_name("result.json").exists()
    for folder in (work, tmp_path / "whole"):
        subprocess.run([*command, folder], check=True, stdout=subprocess.DEVNULL)
    results = [
        json.loads((folder / "runs/CBAM/seed0/result.json").read_text())
        for folder in (work, tmp_path / "whole")
    ]
    assert len(results[0]["step_seconds"]) < len(results[1]["step_seconds"])
    assert results[0]["metrics"] == results[1]["metrics"]


@pytest.mark.slow
def test_killed_processes_leave_nothing_behind_and_go_on(
    repo: Path, shapes: Path, tmp_path: Path
) -> None:
    """kill -9 with two runs at once: the workers end too, and the table becomes the same."""
    command = [sys.executable, repo / "tools/compare.py", FCN, "--insert", "CBAM", "--no-controls"]
    command += ["--at", "backbone.layer3", "--seeds", "2", "--budget", "30it", "--no-equal-time"]
    work = tmp_path / "killed"
    process = subprocess.Popen(
        [*command, "--jobs", "2", "--work-dir", work], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while (
        not list(work.glob("runs/*/*/last_checkpoint"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list(work.glob("runs/*/*/result.json"))) < 4
    for folder, more in ((work, ["--jobs", "2"]), (tmp_path / "whole", [])):
        subprocess.run(
            [*command, *more, "--work-dir", folder], check=True, stdout=subprocess.DEVNULL
        )
    first, second = (
        json.loads((folder / "report.json").read_text()) for folder in (work, tmp_path / "whole")
    )
    for one, other in zip(first["variants"], second["variants"], strict=True):
        assert one["values"] == other["values"]


@pytest.mark.slow
def test_controls_and_equal_time(
    fcn: Callable[..., dict], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Other seeds and a wider host are trained beside; a slower block again, with fewer steps."""
    from mmattn.compare import variant_cost

    monkeypatch.setattr(variant_cost, "step_ratio", lambda *_: (1.7, (1.5, 1.9)))
    lines: list[str] = []
    text = compare(
        **fcn(controls=True, match_time=True, budget="4it") | {"log": lines.append}
    ).read_text()
    work = tmp_path / "work"
    (wider,) = json.loads((work / "comparison.json").read_text())["widenings"]
    assert wider["of"] == ["SE"] and wider["adds"] >= 2 * 32 * 2 + 2 + 32
    assert f"{wider['setting']} {wider['before']} -> {wider['value']}" in "\n".join(lines)
    report = {r["label"]: r for r in json.loads((work / "report.json").read_text())["variants"]}
    host = next(label for label in report if label.startswith("wider host"))
    assert list(report) == ["none", "SE", "other seeds", host]
    added = report[host]["cost"]["parameters"] - report["none"]["cost"]["parameters"]
    assert added == wider["adds"]
    assert report["SE"]["wider_host"] == host
    expected = [report["SE"]["values"][s] - report[host]["values"][s] for s in ("0", "1")]
    assert report["SE"]["vs_wider_host"]["per_seed"] == pytest.approx(expected)
    # 4 / 1.7 steps.
    assert report["SE"]["step_ratio"] == 1.7
    config = (work / "configs" / "SE_equal_time.py").read_text()
    assert "max_iters=2" in config
    assert len(list(work.glob("runs/SE/equal_time_seed*/result.json"))) == 2
    with (work / "runs.csv").open(newline="") as file:
        kinds = [(r["variant"], r["equal_time"], r["iterations"]) for r in csv.DictReader(file)]
    assert kinds.count(("SE", "no", "4")) == kinds.count(("SE", "yes", "2")) == 2
    # None of the seeds of the control is one of the base's.
    seeds = {p.name for p in work.glob("runs/other_seeds/*")}
    assert seeds == {"seed1000", "seed1001"}
    assert report["other seeds"]["values"] != report["none"]["values"]
    assert re.search(r"- other seeds: .*It is the same network", text)
    assert "control of SE" in text and "in equal time it is" in text


@pytest.mark.slow
def test_a_lock_is_replayed(finished: dict, shapes: Path, tmp_path: Path) -> None:
    """The same table in another folder; other data are refused before anything is trained."""
    from mmattn.compare import replay
    from mmattn.data import write_shapes_dataset
    from mmattn.errors import DataError

    lock, lines = finished["work"] / "run.lock", []
    work = tmp_path / "again"
    assert replay(str(lock), work_dir=str(work), log=lines.append)
    assert lines[-1] == "2 of 2 rows are within the intervals of the lock"
    first, second = (
        json.loads((folder / "report.json").read_text()) for folder in (finished["work"], work)
    )
    for one, other in zip(first["variants"], second["variants"], strict=True):
        assert one["values"] == other["values"], "the same machine gives the same numbers"
    # Another table is not within the intervals of this one.
    content = json.loads(lock.read_text())
    content["rows"][1]["difference"] = {"mean": 90.0, "t_interval": [89.0, 91.0]}
    other = tmp_path / "other.lock"
    other.write_text(json.dumps(content))
    assert not replay(str(other), work_dir=str(work), log=lines.append)
    changed = tmp_path / "shapes"
    write_shapes_dataset(changed, num_train=8, num_val=4, size=(64, 96), seed=1)
    with pytest.raises(DataError, match=r"are not those of the lock.*--data-root"):
        replay(str(lock), work_dir=str(tmp_path / "c"), data_root=str(changed), log=lines.append)
    assert not (tmp_path / "c" / "runs").exists()


@pytest.mark.slow
def test_a_grid_of_places(fcn: Callable[..., dict], tmp_path: Path) -> None:
    """Each block at each place of the backbone in turn, in a time that is shared out."""
    arguments = fcn(at=["auto"], budget=None, total="60s", seeds=1, dry_run=True)
    lines: list[str] = []
    assert compare(**arguments | {"log": lines.append}) is None
    names = sorted(path.stem for path in (tmp_path / "work" / "configs").iterdir())
    assert "SE_at_backbone.layer3" in names and "SE_at_backbone.layer3.each" in names
    assert any(re.fullmatch(r"60s are \d+ s for each of 9 runs", line) for line in lines)


@pytest.mark.slow
def test_a_detector_by_epochs(repo: Path, tmp_path: Path, capsys) -> None:
    """mmdet's config counts epochs; AP by size gives no counts per image: seeds alone are drawn."""
    spec = importlib.util.spec_from_file_location("tool", repo / "tools" / "compare.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    words = [RETINANET, "--insert", "SE,ECA", "--at", "backbone.layer3.*.conv2"]
    words += ["--at", "neck", "--seeds", "2", "--budget", "4it", "--work-dir", str(tmp_path)]
    words += ["--no-controls", "--no-equal-time"]
    assert tool.main(words) == 0
    text = (tmp_path / "report.md").read_text()
    assert "coco/bbox_mAP, mean" in text
    assert ", images [" in text and "the matched detections" in text
    assert tool.main([*words, "--report-only", "--metric", "coco/bbox_mAP_s"]) == 0
    other = (tmp_path / "report.md").read_text()
    assert "t over 2 seeds" in other and ", images [" not in other
    assert "This metric gives no counts for each image" in other
    # Images of 64 x 96 pixels have no large objects.
    assert tool.main([*words, "--report-only", "--metric", "coco/bbox_mAP_l"]) == 2
    assert "hold no object that coco/bbox_mAP_l counts" in capsys.readouterr().err
    assert "mmattn compare " in text and " --insert " in text
    config = (tmp_path / "configs" / "SE.py").read_text()
    assert "max_iters=4" in config and "by_epoch=True" not in config
    assert tool.main([*words[:2], "SEE", *words[3:]]) == 2
    assert "Did you mean 'SE'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_variant_without_result_is_told(finished: dict, tmp_path: Path, monkeypatch) -> None:
    """A loss that was not finite is neither a zero nor left out in silence."""
    import mmattn.compare.run as module

    def failing(cfg, seed, work_dir, initial_weights, progress, log):
        result = run_variant(cfg, seed, work_dir, initial_weights, progress, log)
        if work_dir.parent.name == "SE":
            result = {k: v for k, v in result.items() if k != "metrics"} | {"failure": "loss nan"}
            (work_dir / "result.json").write_text(json.dumps(result))
        return result

    monkeypatch.setattr(module, "run_variant", failing)
    arguments = finished["arguments"] | {
        "work_dir": str(tmp_path / "w"),
        "seeds": 1,
        "insert": "SE",
    }
    text = compare(**arguments, log=lambda text: None).read_text()
    assert "- SE, seed 0: no result, loss nan." in text
    assert re.search(r"\| SE +\| failed", text)
