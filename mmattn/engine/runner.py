"""Build the runner of a config: resolve it, check it, join the processes, build."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from mmattn.config.numerics import read_numerics
from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.config.resolve import Step, resolve
from mmattn.config.run_settings import (
    add_default_hooks,
    import_mmattn,
    load_without_workers,
    name_visualizer,
    use_cpu_amp,
)
from mmattn.errors import ConfigError
from mmattn.models.timm_normalization import fill_normalization
from mmattn.preflight.auto_classes import fill_class_counts
from mmattn.preflight.backbone import check_channels
from mmattn.preflight.run import check_config, check_data

from .distributed import (
    fit_for_cpu_group,
    join_cpu_group,
    join_restarted_group,
    launched_rank,
    wait_long,
)
from .pretrained import fetch_checkpoint, fetch_pretrained

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner

    from mmattn.preflight.data import DatasetReport

#: Name of the step that counts classes in the data.
CLASS_COUNTS = "class counts"
# What mmengine asks for to run a split; without it, it raises errors about its own internals.
_NEEDED = {
    "train": ("train_dataloader", "train_cfg", "optim_wrapper"),
    "test": ("test_dataloader", "test_cfg", "test_evaluator"),
}


def build_runner(
    cfg: Config,
    splits: Sequence[str],
    steps: Sequence[Step] = (),
    inspect: Callable[[Sequence[DatasetReport]], None] | None = None,
) -> Runner:
    """Resolve and check ``cfg`` and the data of ``splits``, and build the runner.

    Args:
        cfg: A whole config; it is not changed.
        splits: Splits to be run, of ``train``, ``val`` and ``test``.
        steps: Steps before those of every run, such as those of a command's options.
        inspect: Called in rank 0 with the reports on the datasets; raises where they are at fault.

    Raises:
        MMAttnError: ``preflight`` finds a mistake, the launcher is wrong, or a type is not
            registered.
    """
    first = launched_rank(cfg.launcher) == 0
    if first:  # before anything is read or logged
        check_config(cfg, splits, whole=True)
    numerics = read_numerics(cfg)
    _require_sections(cfg, splits)
    enter_scope(cfg)
    with explain_registry_errors(cfg.filename):
        cfg = resolve(cfg, [*steps, *run_steps(cfg)]).cfg
    # Before any process group: while one rank reads data the others would wait and time out.
    if first:
        if "train" in splits:
            fetch_pretrained(cfg)
        else:
            fetch_checkpoint(cfg)
        reports = check_data(cfg, splits)
        if inspect is not None:
            inspect(reports)
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    from mmattn.data.loading_errors import name_files_in_errors

    enter_scope(cfg)
    name_files_in_errors()
    _forget_visualizer(cfg)
    if _in_cpu_group(cfg):
        join_cpu_group(cfg)
    else:
        join_restarted_group(cfg)
    with explain_registry_errors(cfg.filename):
        runner = RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
    check_channels(runner.model, cfg.filename)
    if "train" in splits:
        from .hooks.class_rows import ClassRowsHook
        from .hooks.finite_steps import FiniteStepsHook

        runner.register_hook(ClassRowsHook())
        if not any(isinstance(hook, FiniteStepsHook) for hook in runner.hooks):
            runner.register_hook(FiniteStepsHook(**vars(numerics)))
    return runner


def run_steps(cfg: Config) -> list[Step]:
    """Return the steps that every run of ``cfg`` takes on this machine, in their order."""
    steps = [
        Step(CLASS_COUNTS, fill_class_counts),
        Step("default hooks", add_default_hooks),
        Step("data loaders without workers", load_without_workers),
        Step("visualizer", name_visualizer),
        Step("custom imports", import_mmattn),
        Step("timm's normalisation", _fill_normalization),
    ]
    if _on_cpu():
        steps.append(Step("mixed precision on a CPU", use_cpu_amp))
    if cfg.launcher != "none":
        steps.append(Step("waiting for other processes", wait_long))
    if _in_cpu_group(cfg):
        steps.append(Step("several processes on CPUs", fit_for_cpu_group))
    return steps


def _forget_visualizer(cfg: Config) -> None:
    """Let the run have a visualizer of its own, whose files lie in its own folder.

    mmengine hands out one of a name for ever, and upstream's configs all name theirs
    "visualizer": a second run in this process would write into the folder of the first.
    """
    from mmengine.visualization import Visualizer

    name = (cfg.get("visualizer") or {}).get("name")
    for cls in (Visualizer, *_subclasses(Visualizer)):
        cls._instance_dict.pop(name, None)


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _on_cpu() -> bool:
    from mmengine.device import get_device

    return get_device() == "cpu"


def _in_cpu_group(cfg: Config) -> bool:
    return cfg.launcher != "none" and _on_cpu()


def _fill_normalization(cfg: Config) -> Config:
    fill_normalization(cfg.model, cfg.get("default_scope"), cfg.get("data_preprocessor"))
    return cfg


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
