"""Build the runner of a finished config: checks, processes, hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmattn.config.overrides import add_default_hooks, use_cpu_amp
from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.errors import ConfigError
from mmattn.preflight.backbone import check_channels, fill_normalization
from mmattn.preflight.run import preflight

from .distributed import launched_rank, use_cpu_processes

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

# What mmengine asks for to run a split; without it, it raises errors about its own internals.
_NEEDED = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("test_dataloader", "test_cfg", "test_evaluator"),
}


def build_runner(cfg: Config, splits: Sequence[str]) -> Runner:
    """Check ``cfg`` and the data of ``splits``, join the other processes, build the runner.

    Raises:
        MMAttnError: ``preflight`` finds a mistake, the launcher is wrong, or a type is not
            registered.
    """
    _require_sections(cfg, splits)
    # Before any process group: while one rank reads data the others would wait and time out.
    if launched_rank(cfg.launcher) == 0:
        preflight(cfg, splits=splits)
    from mmengine.device import get_device
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmattn.data.loading import name_files_in_errors

    enter_scope(cfg)
    name_files_in_errors()
    add_default_hooks(cfg)
    if get_device() == "cpu":
        use_cpu_amp(cfg)
        if cfg.launcher != "none":
            use_cpu_processes(cfg)
    # Upstream's configs all name theirs "visualizer", and mmengine hands out one of that name for
    # ever: a second run in this process would write into the folder of the first.
    if cfg.get("visualizer"):
        cfg.visualizer.pop("name", None)
    with explain_registry_errors(cfg.filename):
        fill_normalization(cfg.model, cfg.get("default_scope"), cfg.get("data_preprocessor"))
        runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    check_channels(runner.model, cfg.filename)
    return runner


def _require_sections(cfg: Config, splits: Sequence[str]) -> None:
    """Refuse a config that is only a part of one, such as those in ``_base_`` folders.

    Raises:
        ConfigError: Sections that ``splits`` need are missing.
    """
    needed = ["model", *(key for split in splits for key in _NEEDED.get(split, ()))]
    missing = [key for key in needed if cfg.get(key) is None]  # empty ones are usual
    if missing:
        raise ConfigError(
            f"{cfg.filename}: has no {', '.join(missing)}, so it cannot be run. Write what is "
            "missing, or inherit it with _base_."
        )
