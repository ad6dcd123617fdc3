"""The tools' command lines: upstream's flags, help without heavy imports, errors in one line."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from mmengine.registry import TRANSFORMS

from mmattn.cli import COMMANDS

HEAVY = ("torch", "mmengine", "mmcv", "mmdet", "mmseg", "numpy", "rich", "matplotlib")


def tool(repo: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tool_{name}", repo / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train() -> ModuleType:
    return importlib.import_module("mmattn.cli.train")


@pytest.fixture
def test() -> ModuleType:
    return importlib.import_module("mmattn.cli.test")


# Commands; tools/demo_steps.py is a part of one.
TOOLS = sorted(
    p.stem
    for p in (Path(__file__).parents[2] / "tools").glob("*.py")
    if "__main__" in p.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", TOOLS)
def test_help_imports_nothing_heavy_and_has_an_example(name: str, repo: Path) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path('tools/{name}.py', run_name='__main__')\n"
        "finally:\n"
        f"    print('LOADED', *(m for m in {HEAVY} if m in sys.modules))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True
    ).stdout
    called = f"mmattn {name}" if name in COMMANDS else f"python tools/{name}.py"
    assert called in shown.split("xample", 1)[1], "no example"
    assert shown.splitlines()[-1].strip() == "LOADED"


def test_train_takes_the_flags_of_mmdet_and_mmseg(train: ModuleType) -> None:
    line = "c.py --work-dir d --amp --auto-scale-lr --launcher pytorch --local-rank 1"
    args = train.parse_args([*line.split(), "--cfg-options", "a.b=1", "c=[1,2]"])
    assert (args.config, args.work_dir, args.amp, args.auto_scale_lr) == ("c.py", "d", True, True)
    assert (args.launcher, args.local_rank) == ("pytorch", 1)
    assert args.cfg_options == ["a.b=1", "c=[1,2]"]
    assert train.parse_args(["c.py", "--local_rank", "2"]).local_rank == 2


@pytest.mark.parametrize(
    ("words", "resume"), [([], None), (["--resume"], "auto"), (["--resume", "a.pth"], "a.pth")]
)
def test_resume_is_a_flag_or_takes_a_checkpoint(
    train: ModuleType, words: list[str], resume: str | None
) -> None:
    assert train.parse_args(["c.py", *words]).resume == resume


def test_test_takes_the_flags_of_mmdet_and_mmseg(test: ModuleType) -> None:
    line = "c.py w.pth --work-dir d --out o.pkl --show --show-dir s --wait-time 0.5 --tta"
    args = test.parse_args([*line.split(), "--launcher", "slurm", "--cfg-options", "a=1"])
    assert (args.config, args.checkpoint, args.out) == ("c.py", "w.pth", "o.pkl")
    assert (args.show, args.show_dir, args.wait_time, args.tta) == (True, "s", 0.5, True)
    assert (args.launcher, args.cfg_options) == ("slurm", ["a=1"])


def test_the_local_rank_reaches_the_environment(train: ModuleType, monkeypatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    train.parse_args(["c.py", "--local_rank", "3"])
    assert os.environ["LOCAL_RANK"] == "3"
    train.parse_args(["c.py", "--local_rank", "5"])
    assert os.environ["LOCAL_RANK"] == "3", "the launcher's own variable goes first"


@pytest.mark.parametrize(
    ("name", "words", "code", "said"),
    [
        ("train", ["mmseg::fcn/nothing.py"], 2, "There is no config mmseg::fcn/nothing.py"),
        ("train", ["{tiny}", "--cfg-options", "lr"], 2, "expected key=value"),
        ("train", ["{tiny}", "--auto-scale-lr"], 2, "base_batch_size"),
        ("train", ["{tiny}", "--resume", "gone.pth"], 6, "There is no checkpoint gone.pth"),
        ("train", ["{tiny}", "--launcher", "pytorch"], 2, "torchrun"),
        ("test", ["{tiny}", "gone.pth"], 6, "There is no checkpoint gone.pth"),
    ],
)
def test_wrong_input_ends_in_one_line_and_its_exit_code(
    name: str,
    words: list[str],
    code: int,
    said: str,
    repo: Path,
    tmp_path: Path,
    monkeypatch,
    capsys,
) -> None:
    for variable in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)
    tiny = str(repo / "tests/support/configs/tiny_fcn.py")
    words = [word.format(tiny=tiny) for word in words]
    assert tool(repo, name).main([*words, "--work-dir", str(tmp_path)]) == code
    errors = capsys.readouterr().err.strip().splitlines()
    assert said in errors[-1]
    assert "Traceback" not in "\n".join(errors)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.py", "--budget", "5it"], "There is no config gone.py"),
        (["mmseg::fcn/gone.py", "--budget", "5it"], "There is no config mmseg::fcn"),
        (["{tiny}", "--budget", "5x"], "--budget '5x'"),
    ],
)
def test_compare_refuses_a_wrong_command_line_before_torch_is_imported(
    words: list[str], said: str, repo: Path
) -> None:
    words = [word.format(tiny=repo / "tests/support/configs/tiny_fcn.py") for word in words]
    words = ["compare.py", *words, "--insert", "SE", "--at", "neck"]
    code = (
        "import runpy, sys\n"
        f"sys.argv = {words}\n"
        "try:\n"
        "    runpy.run_path('tools/compare.py', run_name='__main__')\n"
        "finally:\n"
        f"    print('LOADED', *(m for m in {HEAVY} if m in sys.modules))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stdout.strip() == "LOADED"


@pytest.fixture
def interruptible(shapes_environment: None) -> Iterator[None]:
    """Shells let what they start in the background ignore Ctrl-C, and tests may be started so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@TRANSFORMS.register_module()
class PressCtrlC:
    """A step of a pipeline at which somebody does; it takes the place of another."""

    def __init__(self, scale: tuple[int, int]):
        pass

    def __call__(self, results: dict) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("train", ["{tiny}"], "no step had been taken."),
        (
            "compare",
            ["{tiny}", "--insert", "SE", "--at", "backbone", "--budget", "2it"],
            "the same command goes on from here.",
        ),
    ],
)
def test_an_interrupt_ends_in_one_line(
    name: str, words: list[str], said: str, repo: Path, tmp_path: Path, capfd, interruptible: None
) -> None:
    tiny, folder = str(repo / "tests/support/configs/tiny_fcn.py"), str(tmp_path)
    words = [word.format(tiny=tiny) for word in words] + ["--work-dir", folder]
    words += ["--cfg-options", "train_dataloader.dataset.pipeline.2.type=PressCtrlC"]
    assert tool(repo, name).main(words) == 130
    errors = capfd.readouterr().err
    assert errors.strip().splitlines()[-1] == f"Interrupted; {said.format(folder=folder)}"
    assert "Traceback" not in errors


def test_so_does_one_that_mmengine_makes_a_syntax_error_of(
    train: ModuleType, repo: Path, tmp_path: Path, monkeypatch, capsys, interruptible: None
) -> None:
    def format_code(*args, **kwargs) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", format_code)
    tiny = str(repo / "tests/support/configs/tiny_fcn.py")
    assert train.main([tiny, "--work-dir", str(tmp_path)]) == 130
    assert "Interrupted" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("script", ["dist_train", "dist_test", "slurm_train", "slurm_test"])
def test_scripts_pass_everything_on(script: str, repo: Path, tmp_path: Path) -> None:
    """A stand-in for the interpreter and for srun prints the command that would run."""
    for name in ("srun", "python"):
        (tmp_path / name).write_text('#!/bin/sh\necho "$0" "$@"\n')
        (tmp_path / name).chmod(0o755)
    needed = {
        "dist_train": ["c.py", "2"],
        "dist_test": ["c.py", "w.pth", "2"],
        "slurm_train": ["part", "job", "c.py", "dir"],
        "slurm_test": ["part", "job", "c.py", "w.pth"],
    }[script]
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python"),
        "NNODES": "3", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "PORT": "4444",
        "GPUS": "16", "GPUS_PER_NODE": "4", "CPUS_PER_TASK": "7", "SRUN_ARGS": "--exclusive -t 5",
    }  # fmt: skip
    command = [repo / "tools" / f"{script}.sh", *needed, "--cfg-options", "a=[1, 2]", "b=2"]
    shown = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert shown.endswith("--cfg-options a=[1, 2] b=2")
    kind = script.partition("_")[2]
    if script.startswith("dist"):
        for part in (
            "-m torch.distributed.run", "--nnodes=3", "--node_rank=1", "--master_addr=10.0.0.1",
            "--master_port=4444", "--nproc_per_node=2", f"{kind}.py c.py", "--launcher pytorch",
        ):  # fmt: skip
            assert part in shown, part
    else:
        for part in (
            "--partition=part", "--job-name=job", "--gres=gpu:4", "--ntasks=16",
            "--ntasks-per-node=4", "--cpus-per-task=7", "--exclusive -t 5", f"{kind}.py c.py",
            "--launcher slurm",
        ):  # fmt: skip
            assert part in shown, part
    short = subprocess.run(command[:2], env=environment, capture_output=True, text=True)
    assert short.returncode == 2
    assert f"Usage: tools/{script}.sh" in short.stderr
