"""Promise: two processes stop at one step, and their resume is exact."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mmattn.errors import Preempted, StorageError
from tests.support.resume_cases import differences, last_checkpoint, run

#: On CPUs mmengine's wrapper wants to be told that there are no devices.
CPU = {
    "launcher": "pytorch",
    "cfg": {
        "model_wrapper_cfg": {
            "type": "MMDistributedDataParallel",
            "broadcast_buffers": False,
            "device_ids": None,
        }
    },
}
CASE = {"data": "mosaic", "feature": "accumulating"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def two(folder: Path, settings_of_rank=lambda rank: {}, **case) -> list[int]:
    """Train in two processes; return their exit codes: 75 after a stop, 3 after a full disk."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            code = 99
            try:
                log = os.open(
                    folder.with_suffix(f".{rank}"), os.O_CREAT | os.O_APPEND | os.O_WRONLY
                )
                os.dup2(log, 2)
                sys.stdout = sys.stderr = os.fdopen(2, "w")  # not pytest's
                os.environ |= {
                    "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
                    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                }  # fmt: skip
                dist.init_process_group("gloo")
                said = run(folder, **CPU, **case, **settings_of_rank(rank))
                code = 0 if said is None else Preempted.exit_code
            except StorageError as error:
                print(error)
                code = error.exit_code
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["epoch", "iter"])
@pytest.mark.parametrize("feature", ["accumulating", "ema"])
def test_a_signal_to_one_of_two_stops_both(loop: str, feature: str, tmp_path: Path) -> None:
    """At step 4 of 6 or 12: gradients of one batch wait for two others."""
    case = {**CASE, "loop": loop, "feature": feature}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert two(whole, **case) == [0, 0], whole.with_suffix(".0").read_text()[-3000:]
    codes = two(parts, lambda rank: {"stop_at": 4} if rank else {}, **case)
    assert codes == [75, 75], parts.with_suffix(".1").read_text()[-3000:]
    stopped = last_checkpoint(parts)
    assert stopped["meta"]["iter"] == 4
    if feature == "accumulating":
        first, second = stopped["accumulated_gradients"]
        assert first.keys() == second.keys()
        assert not all(torch.equal(first[name], second[name]) for name in first)
    assert two(parts, resume=True, **case) == [0, 0], parts.with_suffix(".0").read_text()[-3000:]
    assert differences(whole, parts) == []


@pytest.mark.slow
def test_a_signal_in_the_validation_of_one_of_two(tmp_path: Path) -> None:
    def where(rank: int) -> dict:
        return {"stop_at": 4, "in_validation": True} if rank else {}

    case = {**CASE, "loop": "iter"}
    assert two(tmp_path / "parts", where, **case) == [75, 75]
    assert last_checkpoint(tmp_path / "parts")["meta"]["stopped"] == {"validation": True}
    assert two(tmp_path / "parts", resume=True, **case) == [0, 0]
    assert two(tmp_path / "whole", **case) == [0, 0]
    assert differences(tmp_path / "whole", tmp_path / "parts") == []


@pytest.mark.slow
def test_a_full_disk_of_the_first_ends_both(tmp_path: Path) -> None:
    def full(rank: int) -> dict:
        def prepare(runner) -> None:
            def save(*args, **kwargs) -> None:
                raise StorageError("iter_4.pth: cannot be written: No space left on device", 28)

            if rank == 0:
                runner.save_checkpoint = save

        return {"prepare": prepare}

    assert two(tmp_path / "run", full, loop="iter") == [3, 3]
    for rank in range(2):
        assert "iter_4.pth: cannot be written" in (tmp_path / f"run.{rank}").read_text()
