"""Promise: a signal at any moment ends a training with a checkpoint, and its resume is exact."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmattn.cli._run import run as run_command
from mmattn.engine.stop_signals import InterruptedTraining, StopSignals
from mmattn.errors import Preempted
from tests.support.resume_cases import Hook, differences, run

CODES = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}
CASE = {
    "loop": "iter",
    "feature": "ema",
    "data": "mosaic",
    "checkpoint": {"by_epoch": False, "interval": 30, "max_keep_ckpts": 1},
}


def length(steps: int) -> dict:
    return {"train_cfg": {"by_epoch": False, "max_iters": steps, "val_interval": 10}}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tells(Hook):
    """Writes a line when the first step begins, and another one at each step."""

    def __init__(self, pipe: int, seconds: float = 0.0) -> None:
        self.pipe, self.seconds = pipe, seconds

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        os.write(self.pipe, f"{runner.iter + 1}\n".encode())
        time.sleep(self.seconds)


def start(folder: Path, seconds: float = 0.0, **case) -> tuple[int, int]:
    """Train in a child, as ``mmattn train`` does; return its id and a pipe that tells of steps."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    os.setpgid(0, 0)
    code = 99
    try:
        log = os.open(folder.with_suffix(".log"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w")  # not pytest's

        def train() -> None:
            tells = Tells(write, seconds)
            said = run(folder, real_signals=True, prepare=lambda r: r.register_hook(tells), **case)
            if said is not None:
                raise Preempted(said)

        code = run_command(train)
    finally:
        sys.stderr.flush()
        os._exit(code)


def end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def signalled(tmp_path: Path, count: int, steps: int, workers: int, whole_group: bool) -> None:
    """Stop a training ``count`` times and compare it with one that was never stopped."""
    folder, choice, stops = tmp_path / "run", random.Random(count), 0
    case = {**CASE, **length(steps), "workers": workers, "persistent": workers > 0}
    for _ in range(2 * count):
        child, pipe = start(folder, resume=True, **case)
        first = os.read(pipe, 100)
        time.sleep(choice.uniform(0, 0.05))
        number = choice.choice(list(CODES))
        if first:  # else the training was done
            (os.killpg if whole_group else os.kill)(child, number)
        code = end(child)
        os.close(pipe)
        assert code in (0, CODES[number]), folder.with_suffix(".log").read_text()[-3000:]
        stops += code > 0
        if code == 0 or stops == count:
            break
    child, pipe = start(folder, resume=True, **case)
    os.close(pipe)
    end(child)
    log = folder.with_suffix(".log").read_text()
    assert log.count("the same command with --resume") == stops >= 1
    whole = tmp_path / "whole"
    assert run(whole, **CASE, **length(steps)) is None
    assert differences(whole, folder) == []


@pytest.mark.parametrize(("workers", "whole_group"), [(0, False), (2, True)])
def test_signals_at_random_times(workers: int, whole_group: bool, tmp_path: Path) -> None:
    """The second is sent to the workers too, as schedulers and terminals do."""
    signalled(tmp_path, 2, 60, workers, whole_group)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "whole_group"), [(0, False), (2, True)])
def test_twenty_five_signals_at_random_times(
    workers: int, whole_group: bool, tmp_path: Path
) -> None:
    signalled(tmp_path, 25, 3000, workers, whole_group)


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    child, pipe = start(tmp_path / "run", seconds=600, **CASE)
    os.read(pipe, 100)
    os.kill(child, signal.SIGINT)
    log = tmp_path / "run.log"
    while "Ctrl-C once more stops at once" not in log.read_text():
        time.sleep(0.01)
    os.kill(child, signal.SIGINT)
    assert end(child) == 130
    os.close(pipe)
    assert not list((tmp_path / "run").glob("*.pth"))


def test_ctrl_c_stops_at_once_behind_another_signal() -> None:
    with StopSignals() as signals:
        signals.in_training = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_from_before_are_put_back() -> None:
    calls: list[int] = []

    def mine(number, frame) -> None:
        calls.append(number)

    before, interrupt = signal.signal(signal.SIGUSR1, mine), signal.getsignal(signal.SIGINT)
    try:
        with StopSignals() as signals:
            signals.in_training = True
            os.kill(os.getpid(), signal.SIGUSR1)
            assert signals.received == signal.SIGUSR1 and not calls
        assert signal.getsignal(signal.SIGUSR1) is mine
        assert signal.getsignal(signal.SIGINT) is interrupt
        os.kill(os.getpid(), signal.SIGUSR1)
        assert calls == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_exit_codes(capsys) -> None:
    def raising(error: BaseException) -> Callable[[], None]:
        def command() -> None:
            raise error

        return command

    assert run_command(raising(Preempted("stopped; --resume goes on"))) == 75
    assert run_command(raising(InterruptedTraining("saved X; --resume goes on"))) == 130
    told = capsys.readouterr().err
    assert "Preempted: stopped; --resume goes on" in told
    assert "Interrupted; saved X; --resume goes on" in told
