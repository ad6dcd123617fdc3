"""Runs on several devices at once: which process gets what, and what follows a bad end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmattn.compare import jobs as module
from mmattn.compare.jobs import Job, check_devices, parse_devices, read_job, train_in_processes
from mmattn.errors import ConfigError, MMAttnError


def a_job(folder: Path, name: str) -> Job:
    return Job(name, "config.py", 3, str(folder / name), "weights.pth")


@pytest.mark.parametrize(
    ("devices", "count", "expected"),
    [
        (None, None, [""]),
        (None, 1, [""]),
        ("cuda:0,cuda:1", None, ["cuda:0", "cuda:1"]),
        ("cuda:0,cuda:1", 4, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cpu", 2, ["cpu", "cpu"]),
        ("cpu", None, ["cpu"]),
    ],
)
def test_devices_and_processes(devices, count, expected) -> None:
    assert parse_devices(devices, count) == expected


@pytest.mark.parametrize(("devices", "count"), [("gpu0", None), ("cuda", None), (None, 0)])
def test_what_is_no_device(devices, count) -> None:
    with pytest.raises(ConfigError, match=r"--(devices|jobs) "):
        parse_devices(devices, count)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process would see none, and train on the CPU without a word."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    for devices in ([""], ["cpu", "cpu"], ["cuda:0", "cpu"]):
        check_devices(devices)
    with pytest.raises(ConfigError, match=r"--devices cuda:1: this process sees 1 GPUs"):
        check_devices(["cuda:0", "cuda:1"])


def test_devices_are_numbered_as_this_process_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [module.visible_devices(name) for name in ("cuda:1", "cpu")] == ["1", ""]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    assert module.visible_devices("cuda:1") == "7"
    with pytest.raises(ConfigError, match="has no such device"):
        module.visible_devices("cuda:2")


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch):
    """Put a program of a few lines in the place of the worker."""
    popen = subprocess.Popen

    def use(program: str) -> None:
        def started(command, **arguments):
            return popen([sys.executable, "-c", program, command[-1]], **arguments)

        monkeypatch.setattr(module.subprocess, "Popen", started)

    return use


def test_every_job_is_done_once_and_on_its_device(
    tmp_path: Path, worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    worker(
        "import sys, os, json, pathlib, time; job = json.load(open(sys.argv[1])); time.sleep(0.1);"
        "pathlib.Path(job['work_dir'], 'result.json').write_text("
        "json.dumps({'device': os.environ['CUDA_VISIBLE_DEVICES'], 'seed': job['seed']}))"
    )
    todo = [a_job(tmp_path, name) for name in "abcde"]
    done: list[str] = []
    train_in_processes(todo, ["cuda:0", "cuda:3"], lambda job, seconds: done.append(job.name))
    assert sorted(done) == list("abcde")
    assert {job.result["device"] for job in todo} == {"0", "3"}
    assert all(job.result["seed"] == 3 for job in todo)
    assert read_job(tmp_path / "a" / "job.json") == todo[0]


def test_an_error_names_the_run_and_ends_the_others(tmp_path: Path, worker) -> None:
    worker(
        "import sys, json, time; job = json.load(open(sys.argv[1]));"
        "sys.exit('no such block') if job['name'] == 'bad' else time.sleep(15);"
        "open(job['work_dir'] + '/survived', 'w')"
    )
    todo = [a_job(tmp_path, name) for name in ("long", "bad", "later")]
    with pytest.raises(MMAttnError, match=r"bad ended with exit code 1;.*\n.*no such block"):
        train_in_processes(todo, ["cpu", "cpu"], lambda job, seconds: None)
    assert not list(tmp_path.rglob("survived")), "they were ended, or never began"


def test_a_worker_ends_with_its_parent() -> None:
    """Killed without a word, the parent leaves no run that goes on in the folder."""
    program = (
        "import time; from mmattn.compare.worker import end_with_parent; end_with_parent();"
        "print('ready', flush=True); time.sleep(120)"
    )
    parent_program = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {program!r}], stdin=subprocess.PIPE,"
        "stdout=subprocess.PIPE, text=True); child.stdout.readline();"
        "print(child.pid, flush=True); time.sleep(120)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_program], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(200):
        if not _is_alive(child):
            break
        threading.Event().wait(0.1)
    assert not _is_alive(child)


def test_a_worker_ends_well_while_its_parent_waits() -> None:
    """The thread that watches the parent does not turn a finished run into a failure."""
    program = "from mmattn.compare.worker import end_with_parent; end_with_parent()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.wait() == 0, process.stderr.read()
    process.stdin.close()
    process.stderr.close()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a zombie whose new parent has not read its end yet is as good as gone
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except OSError:
        return False


def test_a_finished_job_has_its_result(tmp_path: Path) -> None:
    job = a_job(tmp_path, "SE")
    assert job.result is None
    (tmp_path / "SE").mkdir()
    (tmp_path / "SE" / "result.json").write_text(json.dumps({"metrics": {"mIoU": 1.0}}))
    assert job.result == {"metrics": {"mIoU": 1.0}}
