"""Start process groups on machines without an accelerator, where mmengine insists on one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

from .sharding.checks import is_sharded

if TYPE_CHECKING:
    from mmengine.config import Config

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
# Launcher -> the variables that hold rank, world size and local rank.
_VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}

#: Seconds that a process waits for the others in one operation; ``mmattn.engine.ranks`` finds out
#: much earlier that one of them is gone.
LONGEST_WAIT = 24 * 3600


def launched_rank(launcher: str) -> int:
    """Return the rank of this process, before any process group exists.

    Raises:
        ConfigError: The launcher did not start this process.
    """
    if launcher == "none":
        return 0
    variable = _VARIABLES[launcher][0]
    if variable not in os.environ:
        starter = {"pytorch": "torchrun", "slurm": "srun", "mpi": "mpirun"}[launcher]
        raise ConfigError(
            f"--launcher {launcher}: {variable} is not set. Start this command by {starter} "
            "(see tools/dist_train.sh and tools/slurm_train.sh), or leave --launcher out."
        )
    return int(os.environ[variable])


def world_size(launcher: str) -> int:
    """Return how many processes the launcher has started, before any process group exists."""
    return 1 if launcher == "none" else int(os.environ.get(_VARIABLES[launcher][1], "1"))


def set_standard_variables(launcher: str) -> None:
    """Set the variables that torch reads from those of the launcher."""
    for standard, variable in zip(_VARIABLES["pytorch"], _VARIABLES[launcher], strict=True):
        os.environ[standard] = os.environ.get(variable, "0")
    os.environ.setdefault("MASTER_PORT", str(_port_of_step(os.environ)))
    if "MASTER_ADDR" not in os.environ:
        os.environ["MASTER_ADDR"] = _first_node(os.environ)


def wait_long(cfg: Config) -> Config:
    """Give collectives a limit that no slow evaluation meets: processes that hang are watched."""
    environment = dict(cfg.get("env_cfg") or {})
    environment["dist_cfg"] = {"timeout": LONGEST_WAIT, **(environment.get("dist_cfg") or {})}
    cfg.env_cfg = environment
    return cfg


def join_cpu_group(cfg: Config) -> None:
    """Join the process group over gloo.

    mmengine always selects a CUDA device when it starts a group; a group that exists already is
    used as it is.
    """
    set_standard_variables(cfg.launcher)
    _join_group(cfg, "gloo")


def join_restarted_group(cfg: Config) -> None:
    """Join the process group of GPUs, if torchrun has started this training again.

    Otherwise mmengine joins it, and would after a restart with what its torch has in store; see
    ``_store_of_attempt``.
    """
    dist_cfg = (cfg.get("env_cfg") or {}).get("dist_cfg") or {}
    if cfg.launcher != "pytorch" or "init_backend" in dist_cfg or not _is_restarted(dist_cfg):
        return
    import torch

    if not torch.cuda.is_available():  # other accelerators are mmengine's
        return
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # as mmengine does
    _join_group(cfg, dist_cfg.get("backend", "nccl"))


def _join_group(cfg: Config, backend: str) -> None:
    import torch.distributed as dist

    dist_cfg = (cfg.get("env_cfg") or {}).get("dist_cfg") or {}
    timeout = timedelta(seconds=dist_cfg.get("timeout", LONGEST_WAIT))
    others = {k: v for k, v in dist_cfg.items() if k not in ("backend", "init_backend", "timeout")}
    if not dist.is_initialized():
        meeting = _store_of_attempt() if _is_restarted(dist_cfg) else {}
        dist.init_process_group(backend, timeout=timeout, **{**meeting, **others})


def _is_restarted(dist_cfg: Mapping[str, Any]) -> bool:
    """Return whether torchrun has started this training again, and its processes meet by it."""
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return again and agent and not {"init_method", "store"} & dist_cfg.keys()


def _store_of_attempt() -> dict[str, Any]:
    """Return arguments of ``init_process_group`` for a group that torchrun has started again.

    With a fixed port, torchrun keeps one store over all restarts, and torch 2.15 reads what is in
    it: processes then call those that are gone, and the restart fails ("Connection refused"). The
    names of each attempt get a prefix of their own, as in earlier versions of torch.
    """
    from torch.distributed import PrefixStore, TCPStore

    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(*place, None, False, timedelta(seconds=LONGEST_WAIT))
    return {
        "store": PrefixStore(f"mmattn/attempt/{attempt}", store),
        "rank": int(os.environ["RANK"]),
        "world_size": int(os.environ["WORLD_SIZE"]),
    }


def fit_for_cpu_group(cfg: Config) -> Config:
    """Change ``cfg`` for training by several processes on CPUs: no device ids, no SyncBN."""
    wrapper = cfg.get("model_wrapper_cfg") or {
        "type": "MMDistributedDataParallel",
        "broadcast_buffers": False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
    }
    if not is_sharded(cfg):
        wrapper = {**wrapper, "device_ids": None}
    cfg.model_wrapper_cfg = wrapper
    replace_sync_bn(cfg.model)
    return cfg


def replace_sync_bn(cfg: object) -> None:
    """Write BN for every SyncBN in a model's config, in place: there is no SyncBN on CPUs."""
    if isinstance(cfg, dict):
        if cfg.get("type") in ("SyncBN", "MMSyncBN"):
            cfg["type"] = "BN"
        for value in cfg.values():
            replace_sync_bn(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            replace_sync_bn(value)


def _first_node(environment: Mapping[str, str]) -> str:
    """Return the node of rank 0: the first one of the step, or of the job, of SLURM.

    >>> _first_node({"SLURM_NODELIST": "gpu[007-009,12],cpu1"}), _first_node({})
    ('gpu007', '127.0.0.1')
    """
    lists = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    nodes = next((environment[name] for name in lists if environment.get(name)), "127.0.0.1")
    # Of each bracket the first number; what follows a comma outside of brackets is another node.
    return re.sub(r"\[([^],-]*)[^]]*\]", r"\1", nodes).split(",")[0]


def _port_of_step(environment: Mapping[str, str]) -> int:
    """Return the port of rank 0: one of its own for each step of SLURM, which may share a node.

    >>> _port_of_step({}), _port_of_step({"SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "2"})
    (29500, 22347)
    """
    job, step = environment.get("SLURM_JOB_ID", ""), environment.get("SLURM_STEP_ID", "0")
    if not job.isdecimal():
        return 29500
    # Below the ports that systems give away by themselves, from 32768 on.
    return 20000 + (int(job) + (int(step) if step.isdecimal() else 0)) % 10000
