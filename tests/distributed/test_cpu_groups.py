"""Process groups without an accelerator: from each launcher's variables, and a config that fits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import torch.distributed as dist
from mmengine.config import Config

from mmattn.engine.distributed import fit_for_cpu_group, join_cpu_group, launched_rank
from mmattn.errors import ConfigError

VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for names in VARIABLES.values():
        for name in names:
            monkeypatch.setenv(name, "")  # so that what a test sets is undone
            monkeypatch.delenv(name)
    for name in ("MASTER_ADDR", "MASTER_PORT", "SLURM_NODELIST"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield monkeypatch
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.parametrize("launcher", list(VARIABLES))
def test_a_group_of_one_joins_over_gloo(launcher: str, no_launcher) -> None:
    for name, value in zip(VARIABLES[launcher], "010", strict=True):
        no_launcher.setenv(name, value)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        no_launcher.setenv("MASTER_PORT", str(probe.getsockname()[1]))
    norm = {"type": "SyncBN", "requires_grad": True}
    cfg = Config(
        {
            "launcher": launcher,
            "model": {"norm_cfg": norm, "heads": [{"norm_cfg": dict(norm)}]},
            "find_unused_parameters": True,
        }
    )
    assert launched_rank(launcher) == 0
    join_cpu_group(cfg)
    fit_for_cpu_group(cfg)
    assert dist.get_backend() == "gloo"
    assert (dist.get_rank(), dist.get_world_size()) == (0, 1)
    assert cfg.model.norm_cfg.type == cfg.model.heads[0].norm_cfg.type == "BN"
    assert cfg.model_wrapper_cfg.device_ids is None
    assert cfg.model_wrapper_cfg.find_unused_parameters is True


@pytest.mark.parametrize("launcher", list(VARIABLES))
def test_a_launcher_that_did_not_launch_is_refused(launcher: str, no_launcher) -> None:
    with pytest.raises(ConfigError, match=VARIABLES[launcher][0]):
        launched_rank(launcher)
