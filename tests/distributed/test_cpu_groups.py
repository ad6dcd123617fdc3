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


def test_a_group_that_is_started_again_meets_apart_from_the_one_before(no_launcher) -> None:
    """In torchrun's store; other settings of the config's group reach torch, as mmengine's do."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {
        "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "2",
    }  # fmt: skip
    for name, value in variables.items():
        no_launcher.setenv(name, value)
    cfg = Config(
        {"launcher": "pytorch", "env_cfg": {"dist_cfg": {"backend": "nccl", "timeout": 60}}}
    )
    with pytest.raises(TypeError, match="colour"):
        join_cpu_group(Config({**cfg, "env_cfg": {"dist_cfg": {"colour": "red"}}}))
    join_cpu_group(cfg)
    ours = dist.distributed_c10d._get_default_store()
    ours.set("mark", "of this attempt")
    names = list_keys(store)
    assert any(name.startswith("mmattn/attempt/2/") and name.endswith("mark") for name in names)


def list_keys(store: dist.TCPStore) -> list[str]:
    return [key if isinstance(key, str) else key.decode() for key in store.list_keys()]


@pytest.mark.parametrize("launcher", list(VARIABLES))
def test_a_launcher_that_did_not_launch_is_refused(launcher: str, no_launcher) -> None:
    with pytest.raises(ConfigError, match=VARIABLES[launcher][0]):
        launched_rank(launcher)
