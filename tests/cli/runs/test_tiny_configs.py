"""Real runs of the train and test tools on generated images, segmentation and detection."""

from __future__ import annotations

import csv
import importlib.util
import os
import pickle
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
import torch

CONFIGS = Path(__file__).resolve().parents[2] / "support" / "configs"
FCN, RETINANET = str(CONFIGS / "tiny_fcn.py"), str(CONFIGS / "tiny_retinanet.py")


@pytest.fixture
def run(repo: Path, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run a tool in this process: ``run("train", config, "--amp")``."""
    count = iter(range(100))

    def call(name: str, *words: str | Path, options: tuple[str, ...] = ()) -> None:
        spec = importlib.util.spec_from_file_location("tool", repo / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # Two runs within a second would share mmengine's logs, which are named by the second.
        own = f"experiment_name={request.node.name}-{next(count)}"
        assert module.main([*map(str, words), "--cfg-options", own, *options]) == 0

    return call


@pytest.fixture(scope="module")
def trained(repo: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A segmentation training in a process of its own, which believes to be on a terminal."""
    work_dir = tmp_path_factory.mktemp("fcn")
    ours, theirs = pty.openpty()
    command = [sys.executable, repo / "tools/train.py", FCN, "--work-dir", work_dir]
    environment = os.environ | {
        "SHAPES_ROOT": str(shapes), "COLUMNS": "150", "TERM": "xterm-256color",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    screen = shown.decode(errors="replace")
    assert process.wait(timeout=60) == 0, screen[-3000:]
    (log_dir,) = (path for path in work_dir.iterdir() if path.is_dir())
    return {"work_dir": work_dir, "log_dir": log_dir, "screen": screen}


def rows(file: Path, split: str) -> list[dict]:
    with file.open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["split"] == split]


def newest(work_dir: Path, name: str) -> Path:
    return max(work_dir.glob(f"*/{name}"), key=lambda path: path.stat().st_mtime_ns)


def test_a_run_directory_has_mmengines_layout(trained: dict) -> None:
    work_dir, log_dir = trained["work_dir"], trained["log_dir"]
    for file in ("tiny_fcn.py", "iter_4.pth", "iter_8.pth", "last_checkpoint"):
        assert (work_dir / file).is_file(), file
    assert list(work_dir.glob("best_mIoU_iter_*.pth"))
    assert re.fullmatch(r"\d{8}_\d{6}", log_dir.name)
    for file in (f"{log_dir.name}.log", "vis_data/scalars.json", "vis_data/config.py"):
        assert (log_dir / file).is_file(), file


def test_a_terminal_shows_one_live_line_and_the_log_has_every_line(trained: dict) -> None:
    screen, log = trained["screen"], next(trained["log_dir"].glob("*.log")).read_text()
    assert re.search(r"iter [1-8]/8 .*left 0:00.*loss \d.*lr \d.*data .*iter \d", screen)
    assert "Iter(train)" not in screen, "mmengine's lines scroll the live line away"
    assert len(re.findall(r"Iter\(train\)", log)) == 4
    assert "Saving checkpoint at 4 iterations" in screen, "everything else stays on the terminal"
    assert screen.rstrip().count("\x1b[?25l") == screen.rstrip().count("\x1b[?25h"), "hidden cursor"


def test_every_validation_has_a_table_with_a_row_per_class(trained: dict) -> None:
    log = next(trained["log_dir"].glob("*.log")).read_text()
    for text in (log, trained["screen"]):
        assert len(re.findall(r"\| class +\| +IoU \| +Acc \|", text)) == 2
        assert len(re.findall(r"\| triangle +\|", text)) == 2
    values = rows(trained["log_dir"] / "results.csv", "val")
    assert {row["iter"] for row in values} == {"4", "8"}
    assert len({row["class"] for row in values}) == 10 + 1


@pytest.mark.slow
def test_a_training_is_reported_without_an_exported_file(repo, trained, tmp_path) -> None:
    checkpoint = trained["work_dir"] / "iter_8.pth"
    command = [sys.executable, "tools/report.py", FCN, checkpoint, "--out", tmp_path]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    measured = re.search(r"\*\*mean\*\* \| +([\d.]+) \|", page)
    log = next(trained["log_dir"].glob("*.log")).read_text()
    assert float(measured[1]) == pytest.approx(float(re.findall(r"mIoU: ([\d.]+)", log)[-1]))
    assert "exported" not in page
    files = ("README.md", "curves_loss.png", "curves_metrics.png", "predictions.jpg")
    assert {file.name for file in tmp_path.iterdir()} == set(files)


def test_curves_are_drawn(trained: dict) -> None:
    for name in ("loss", "lr", "metrics"):
        image = cv2.imread(str(trained["log_dir"] / "vis_data" / f"curves_{name}.png"))
        assert image is not None, name
        assert len(set(map(tuple, image.reshape(-1, 3)))) > 10, f"{name} is blank"


@pytest.mark.slow
def test_resuming_ends_where_the_uninterrupted_run_ended(trained: dict, run, tmp_path) -> None:
    run("train", FCN, "--work-dir", tmp_path, "--resume", trained["work_dir"] / "iter_4.pth")
    resumed = torch.load(tmp_path / "iter_8.pth", weights_only=True)["state_dict"]
    straight = torch.load(trained["work_dir"] / "iter_8.pth", weights_only=True)["state_dict"]
    for name, value in straight.items():
        assert torch.equal(resumed[name], value), name


def test_testing_a_checkpoint_gives_the_metrics_of_its_validation(
    trained: dict, run, shapes: Path, tmp_path: Path
) -> None:
    out, painted = tmp_path / "labels", tmp_path / "painted"
    checkpoint = trained["work_dir"] / "iter_8.pth"
    run("test", FCN, checkpoint, "--work-dir", tmp_path, "--out", out, "--show-dir", painted)
    tested = rows(newest(tmp_path, "results.csv"), "test")
    validated = [
        row for row in rows(trained["log_dir"] / "results.csv", "val") if row["iter"] == "8"
    ]
    assert [(r["class"], r["metric"], r["value"]) for r in tested] == [
        (r["class"], r["metric"], r["value"]) for r in validated
    ]
    labels = sorted(out.glob("*.png"))
    assert len(labels) == 4
    size = cv2.imread(str(labels[0]), cv2.IMREAD_UNCHANGED).shape
    assert size == cv2.imread(str(next((shapes / "images/val").iterdir()))).shape[:2]
    assert len(list(painted.rglob("*.png"))) == 4


@pytest.mark.slow
def test_testing_weights_of_another_network_is_refused(
    trained, run, repo, tmp_path, capsys
) -> None:
    weights = torch.load(trained["work_dir"] / "iter_8.pth", weights_only=True)["state_dict"]
    del weights["decode_head.conv_seg.weight"]
    torch.save({"state_dict": weights}, tmp_path / "part.pth")
    with pytest.raises(AssertionError):
        run("test", FCN, tmp_path / "part.pth", "--work-dir", tmp_path)
    said = capsys.readouterr().err
    assert "part.pth: 1 of the model's" in said and "missing: decode_head.conv_seg.weight" in said
    run("test", FCN, tmp_path / "part.pth", "--work-dir", tmp_path, "--allow-partial")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["the config's own", "a flip"])
def test_segmentation_with_test_time_augmentation(
    recipe: str, trained: dict, run, tmp_path: Path
) -> None:
    without = ("tta_pipeline=None", "tta_model=None") if recipe == "a flip" else ()
    checkpoint = trained["work_dir"] / "iter_8.pth"
    run("test", FCN, checkpoint, "--work-dir", tmp_path, "--tta", options=without)
    assert len(rows(newest(tmp_path, "results.csv"), "test")) == 11 * 2


@pytest.mark.slow
def test_mixed_precision_trains_and_can_tell_itself_from_full_precision(
    trained: dict, run, tmp_path: Path
) -> None:
    run("train", FCN, "--work-dir", tmp_path, "--amp", options=("train_cfg.max_iters=4",))
    half = torch.load(tmp_path / "iter_4.pth", weights_only=True)["state_dict"]
    full = torch.load(trained["work_dir"] / "iter_4.pth", weights_only=True)["state_dict"]
    assert half.keys() == full.keys()
    assert all(value.dtype == full[name].dtype for name, value in half.items())
    different = max((half[name] - full[name]).abs().max().item() for name in full)
    assert 0 < different < 0.05


@pytest.mark.slow
def test_testing_in_mixed_precision_is_near_full_precision_but_not_it(
    trained: dict, run, tmp_path: Path
) -> None:
    checkpoint = trained["work_dir"] / "iter_8.pth"
    logits = []
    for words in ((), ("--amp",)):
        out = tmp_path / f"{len(words)}.pkl"
        run("test", FCN, checkpoint, "--work-dir", tmp_path, "--out", out, *words)
        results = pickle.loads(out.read_bytes())
        logits.append(torch.stack([result["seg_logits"]["data"] for result in results]).float())
    difference = (logits[1] - logits[0]).abs().max() / logits[0].abs().max()
    assert 0 < difference < 0.05


@pytest.mark.slow
def test_detection_trains_resumes_and_tests(run, tmp_path: Path) -> None:
    run("train", RETINANET, "--work-dir", tmp_path, "--auto-scale-lr",
        options=("train_cfg.max_epochs=1",))  # fmt: skip
    first = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    # 4 images at a time, where the config's rate belongs to 16.
    assert first["optimizer"]["param_groups"][0]["lr"] == pytest.approx(0.001 / 4)
    run("train", RETINANET, "--work-dir", tmp_path, "--resume")
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_2.pth")
    log = max(tmp_path.glob("*/*.log"), key=lambda path: path.stat().st_mtime_ns).read_text()
    assert "Epoch(train) [2]" in log
    assert "Epoch(train) [1]" not in log
    values = rows(newest(tmp_path, "results.csv"), "val")
    assert {"circle", "cross", "all"} < {row["class"] for row in values}
    assert {"AP", "AP50"} < {row["metric"] for row in values}

    drawn = ("--show-dir", tmp_path / "painted")
    words = ("--work-dir", tmp_path, "--out", tmp_path / "all.pkl", *drawn)
    run("test", RETINANET, tmp_path / "epoch_2.pth", *words)
    assert len(pickle.loads((tmp_path / "all.pkl").read_bytes())) == 4
    assert len(list(tmp_path.glob("painted/*"))) == 4
    run("test", RETINANET, tmp_path / "epoch_2.pth", "--work-dir", tmp_path, "--tta")


def test_detection_cannot_write_a_folder_of_label_maps(repo: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "w.pth").touch()
    spec = importlib.util.spec_from_file_location("tool", repo / "tools/test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    words = [RETINANET, tmp_path / "w.pth", "--out", tmp_path / "labels"]
    assert module.main(list(map(str, words))) == 2
    assert ".pkl" in capsys.readouterr().err
