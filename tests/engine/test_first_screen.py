"""The first screen of a run is short and about the run; the log file has everything."""

from __future__ import annotations

import logging
import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper

import mmattn.engine
from mmattn.bridge.upstream_scripts import find_script, list_scripts
from mmattn.engine.console import brief_console
from mmattn.engine.first_screen import _fitted
from mmattn.errors import CheckpointError
from mmattn.reports.harmless import HARMLESS, is_harmless

CONFIGS = Path(__file__).resolve().parents[1] / "support" / "configs"
ROWS = ("config", "data", "model", "schedule", "saved", "run", "log")
#: Beginnings of what upstream packages say of themselves.
NOISE = (
    *("prefix is not set", "avg_non_ignore", "out_channels", "The draw is False", "OneDL"),
    *("FileClient", "HardDiskBackend", "Hooks will be executed", "System environment"),
    *("paramwise_options", "loading annotations", "creating index", "UserWarning"),
)
SHORT = {
    "tiny_fcn.py": {"train_cfg.max_iters": 1, "train_cfg.val_interval": 1},
    "tiny_retinanet.py": {"train_cfg.max_epochs": 1},
    # A line for each parameter.
    "paramwise": {
        "train_cfg.max_iters": 1,
        "optim_wrapper.paramwise_cfg": {"custom_keys": {"backbone": {"lr_mult": 0.1}}},
    },
}
NO_VALIDATION = {
    "val_dataloader": None,
    "val_cfg": None,
    "val_evaluator": None,
    "default_hooks.checkpoint.save_best": None,
}


@pytest.fixture
def train(shapes_root: Path, tmp_path: Path, monkeypatch, request):
    """Train a tiny config for a step and return the folder of the run."""
    monkeypatch.setenv("SHAPES_ROOT", str(shapes_root))
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(name: str, **options) -> Path:
        file = CONFIGS / (name if name.endswith(".py") else "tiny_fcn.py")
        work_dir = tmp_path / "run"
        chosen = {"experiment_name": request.node.name, **SHORT[name], **options}
        mmattn.engine.train(file, work_dir=str(work_dir), cfg_options=chosen)
        return work_dir

    return run


@pytest.mark.parametrize(
    "name", ["tiny_fcn.py", "tiny_retinanet.py", pytest.param("paramwise", marks=pytest.mark.slow)]
)
def test_first_screen_is_short_and_the_file_has_the_rest(name, train, capsys) -> None:
    work_dir = train(name)
    shown = capsys.readouterr()
    lines = (shown.err + shown.out).splitlines()
    first = next(i for i, line in enumerate(lines) if "(train)" in line or "Saving" in line)
    screen = lines[:first]
    assert len(screen) <= 25, "\n".join(screen)
    assert max(map(len, screen)) < 200
    for row in ROWS:
        assert any(line.startswith(row) for line in screen), row
    for noise in NOISE:
        assert noise not in shown.out + shown.err, noise
    log = next(work_dir.glob("*/*.log")).read_text(encoding="utf-8")
    for part in (
        "System environment", "Config:", "Hooks will be executed", "Checkpoints will be saved",
        "mmattn 0.", "Saving checkpoint", "custom_hooks = [",
    ):  # fmt: skip
        assert part in log, part
    if name == "paramwise":
        assert "paramwise_options" in log
    if name != "tiny_retinanet.py":
        for part in ("The prefix is not set", "avg_non_ignore", "The draw is False"):
            assert part in log, part


def test_each_warning_is_shown_once(tmp_path: Path, capsys) -> None:
    """Datasets and models are built several times, to be checked and to be used."""
    file = tmp_path / "run.log"
    with brief_console():
        logger = MMLogger.get_instance(f"once-{tmp_path}", log_file=str(file))
        for _ in range(2):
            logging.getLogger("mmattn.data").warning("of the data")
            logger.warning("of the model")
    shown = capsys.readouterr()
    for text in ("of the data", "of the model"):
        assert (shown.out + shown.err).count(text) == 1, text
        assert text in file.read_text(encoding="utf-8")


def test_many_warnings_leave_room_for_the_screen(tmp_path: Path, capsys) -> None:
    file = tmp_path / "run.log"
    with brief_console(warnings_shown=2) as console:
        logger = MMLogger.get_instance(f"many-{tmp_path}", log_file=str(file))
        for number in range(3):
            logging.getLogger("mmattn.data").warning(f"of the data {number}")
            logger.warning(f"of the model {number}")
        assert console.hide_rest() == 4
        console.first_step()
        logger.warning("of a step")
    shown = capsys.readouterr()
    assert [line.rpartition("of ")[2] for line in (shown.out + shown.err).splitlines()] == [
        "the model 0", "a step", "the data 0",
    ]  # fmt: skip
    text = file.read_text(encoding="utf-8")
    assert all(f"of the {what} {n}" in text for what in ("data", "model") for n in range(3))


def test_warnings_that_no_screen_left_to_the_log_are_shown_in_the_end(capsys) -> None:
    """As before an error that ends a training before it has a log."""
    with brief_console(warnings_shown=1):
        for number in range(3):
            logging.getLogger("mmattn").warning("number %d", number)
        assert capsys.readouterr().err == "number 0\n"
    assert capsys.readouterr().err == "number 1\nnumber 2\n"


def test_a_long_screen_is_cut_to_a_line_for_each_row() -> None:
    long = "word " * 60
    short = _fitted("title", [("data", long), ("", "b")])
    assert [line[:10].strip() for line in short] == ["title", "data", "", ""]
    many = _fitted("title", [("data", long)] * 15)
    assert len(many) == 16 and all(len(line) <= 98 for line in many)


def test_a_path_is_never_broken() -> None:
    path = f"/data/{'a-long_name/' * 12}of a run.log"
    for rows in (1, 15):
        screen = _fitted("title", [("log", path), ("model", f"starts from {path}")] * rows)
        assert screen[1] == f"{'log':<10}{path}"
        assert any(path.split()[0] in line for line in screen[2:4])


def test_a_warning_that_the_root_logger_shows_is_not_shown_again(capsys) -> None:
    root, ours = logging.getLogger(), logging.getLogger("mmattn")
    handler = logging.StreamHandler(sys.stderr)
    root.addHandler(handler)
    try:
        with brief_console():
            ours.warning("of a check")
    finally:
        root.removeHandler(handler)
    assert capsys.readouterr().err == "of a check\n"


def test_terminal_is_given_back_after_an_error(capsys) -> None:
    showwarning, init = warnings.showwarning, MMLogger.__init__
    with pytest.raises(CheckpointError):
        mmattn.engine.test(CONFIGS / "tiny_fcn.py", "absent.pth")
    assert warnings.showwarning is showwarning and MMLogger.__init__ is init
    assert logging.getLogger("mmattn").handlers == []


def test_messages_from_before_the_log_file_are_in_it(tmp_path: Path, capsys) -> None:
    file = tmp_path / "run.log"
    with brief_console() as console, warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = console.warn
        MMLogger.get_instance(f"early-{tmp_path}").info("early information")
        warnings.warn("the learning rate is large\nsecond line", UserWarning, stacklevel=1)
        warnings.warn("the learning rate is large\nsecond line", UserWarning, stacklevel=1)
        warnings.warn("old name", DeprecationWarning, stacklevel=1)
        logger = MMLogger.get_instance(f"late-{tmp_path}", log_file=str(file))
        logger.warning("The prefix is not set in metric class X.")
        logger.warning("of the user's doing")
        console.first_step()
        logger.info("step 1")
    shown = capsys.readouterr()
    assert shown.err == "warning: the learning rate is large second line\n"
    assert "of the user's doing" in shown.out and "step 1" in shown.out
    assert "early" not in shown.out and "prefix" not in shown.out
    text = file.read_text(encoding="utf-8")
    for part in ("early information", "second line", "old name", "prefix", "step 1"):
        assert part in text, part


def test_only_known_warnings_are_harmless() -> None:
    assert not is_harmless("The model and loaded state dict do not match exactly")
    assert all(re.search(r"\^|`|\$", pattern.pattern) for pattern in HARMLESS)


def test_a_line_for_each_frozen_weight_is_harmless(caplog) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    model[0].requires_grad_(False)
    settings = {
        "optimizer": {"type": "SGD", "lr": 0.1},
        "paramwise_cfg": {"custom_keys": {"1": {"lr_mult": 0.1}}},
    }
    logger = MMLogger.get_instance("frozen")
    logger.addHandler(caplog.handler)
    build_optim_wrapper(model, settings)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 2, "the lines are gone: take them off the list"
    assert all(map(is_harmless, warned)), warned


def test_advice_of_mmseg_about_two_classes_is_harmless() -> None:
    from mmseg.models.decode_heads import FCNHead

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        FCNHead(in_channels=4, channels=4, num_classes=2)
    texts = [str(warning.message) for warning in seen]
    assert any("out_channels" in text for text in texts), "the advice is gone: take it off the list"
    assert all(map(is_harmless, texts)), texts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("tiny_fcn.py", "mmseg::misc/browse_dataset.py"),
        ("tiny_retinanet.py", "mmdet::analysis_tools/browse_dataset.py"),
    ],
)
def test_upstreams_tool_takes_the_config_that_a_run_leaves(
    name: str, tool: str, train, tmp_path: Path, monkeypatch
) -> None:
    if tool not in list_scripts():
        pytest.skip(f"the package does not bring {tool}")
    script = find_script(tool)
    left = train(name, **NO_VALIDATION) / name
    cfg = Config.fromfile(left)
    assert cfg.visualizer.name == "visualizer"
    assert "mmattn" in cfg.custom_imports.imports, "its types are mmattn's"
    painted = tmp_path / "painted"
    words = [str(script), str(left), "--output-dir", str(painted), "--not-show"]
    monkeypatch.setattr(sys, "argv", words)
    # The tool runs in a process of its own, in which there is no visualizer yet.
    from mmattn.engine.runner import _forget_visualizer

    _forget_visualizer(cfg)
    runpy.run_path(str(script), run_name="__main__")
    assert len(list(painted.rglob("*.png")) + list(painted.rglob("*.jpg"))) == 8


def test_two_runs_in_a_process_have_their_own_visualizer(train, tmp_path: Path) -> None:
    options = {**NO_VALIDATION, "default_hooks.logger.interval": 1}
    first = train("tiny_fcn.py", experiment_name="first-run", **options)
    first = first.rename(tmp_path / "first")
    second = train("tiny_fcn.py", experiment_name="second-run", **options)
    assert list(second.glob("*/vis_data/scalars.json"))
    assert len(list(first.glob("*/vis_data/scalars.json"))) == 1
