"""Promise: docs/reports.md works as it stands; its commands are run on folders left behind."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mmattn.cli.main import main
from mmattn.cli.train import parse_args
from tests.support.code_blocks import read_code_blocks
from tests.support.left_behind import leave_behind

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "reports.md"
LINES = [
    line
    for block in read_code_blocks(GUIDE)
    for line in block.code.splitlines()
    if line.startswith("mmattn ")
]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch) -> Path:
    """A working folder with the two runs of the guide."""
    monkeypatch.chdir(tmp_path)
    for name in ("my_run", "other_run"):
        folder = leave_behind(tmp_path / "work_dirs" / name)
        (folder / f"{name}.py").write_text("model = dict(type='EncoderDecoder')\n")
    return tmp_path


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("mmattn report")])
def test_a_line_about_runs_writes_what_the_guide_says(line: str, folders: Path, capsys) -> None:
    words = shlex.split(line)[1:]
    assert main(words) == 0
    out = folders / words[words.index("--out") + 1] if "--out" in words else None
    told = capsys.readouterr().out
    if "--csv" in words:
        rows = (folders / "values.csv").read_text().splitlines()
        assert "work_dirs/my_run,val,20,mIoU,50.0" in rows and len(rows) == 1 + 40 * 4 + 2
    elif "--plot" in words:
        assert ((out or folders / "work_dirs/my_run") / "plot.png").is_file()
    elif "other_run" in line and out is None:
        assert "| my_run" in told and not list(folders.rglob("report.html"))
    else:
        page = (out or folders / "work_dirs/my_run") / "report.html"
        assert "mIoU" in page.read_text("utf-8")


def test_the_guide_shows_every_use() -> None:
    assert len([line for line in LINES if line.startswith("mmattn report")]) == 7


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("mmattn train")])
def test_a_line_about_training_is_understood(line: str) -> None:
    args = parse_args(shlex.split(line)[2:])
    assert args.track == ["tensorboard", "wandb"] or args.cfg_options == ["run_report=False"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["work_dirs/my_rum"], "there is no such folder. Did you mean 'my_run'?"),
        (["work_dirs"], "no run here"),
        (["work_dirs/my_run", "--metric", "mIuO"], "has no metric 'mIuO'. Did you mean 'mIoU'?"),
        (["work_dirs/my_run", "--plot", "los"], "nothing was logged by that name. Did you mean"),
    ],
)
def test_what_is_wrong_is_answered(words, said, folders, capsys) -> None:
    assert main(["report", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--maps-only"], "RUN takes no --maps-only"),
        (["c.py", "w.pth", "--out", "r", "--plot", "loss"], "CONFIG CHECKPOINT takes no --plot"),
        (["a", "b", "--plot", "loss"], "give --out DIR"),
        (["a", "--plot", "loss", "--metric", "mIoU"], "--metric is for the page"),
        (["c.py", "w.pth"], "are required: --out"),
    ],
)
def test_options_of_the_other_use_are_refused(words, said, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["report", *words])
    assert said in capsys.readouterr().err
