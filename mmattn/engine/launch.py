"""From a finished config to a runner: checks, processes, hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .distributed import launched_rank, use_cpu_processes
from .options import add_services, without_accelerator
from .preflight_checks import preflight
from .scope import enter_scope, typed_lookup

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner


def build_runner(cfg: Config, splits: Sequence[str]) -> Runner:
    """Check ``cfg`` and the data of ``splits``, join the other processes, build the runner.

    Raises:
        MMAttnError: What ``preflight`` finds wrong, a wrong launcher, or an unregistered type.
    """
    # Before any process group: while one rank reads data the others would wait and time out.
    if launched_rank(cfg.launcher) == 0:
        preflight(cfg, splits=splits)
    from mmengine.device import get_device
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmattn.data.loading import name_files_in_errors

    enter_scope(cfg)
    name_files_in_errors()
    add_services(cfg)
    if get_device() == "cpu":
        without_accelerator(cfg)
        if cfg.launcher != "none":
            use_cpu_processes(cfg)
    # Upstream's configs all name theirs "visualizer", and mmengine hands out one of that name for
    # ever: a second run in this process would write into the folder of the first.
    if cfg.get("visualizer"):
        cfg.visualizer.pop("name", None)
    with typed_lookup(cfg.filename):
        return RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
