"""Changes of a config by the options of a command; default hooks and metrics are added here.

Each function changes the config that it is given and returns it; ``resolve.py`` hands out copies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.errors import CheckpointError, ConfigError, did_you_mean
from mmattn.tasks import TASKS
from mmattn.type_names import scope_and_name
from mmattn.weights.index import find_entry, load_index
from mmattn.weights.names import SCHEME, entry_name

from .walk import LOADERS, walk

if TYPE_CHECKING:
    from mmengine.config import Config

HOOKS = (
    "mmattn.ProgressHook",
    "mmattn.ClasswiseResultsHook",
    "mmattn.EvalPlotsHook",
    "mmattn.TrainingCurvesHook",
    "mmattn.BroadcastBuffersHook",
)
#: Files that an export writes, by their endings.
_EXPORTED = {".onnx": "ONNX", ".xml": "OpenVINO"}
# Of all tasks: a config may measure more than its own.
_METRICS = {found: ours for task in TASKS for found, ours in task.metrics.items()}


def set_work_dir(cfg: Config, work_dir: str | None) -> Config:
    """Set where the run goes: the option, else the config's own, else ``work_dirs/<config>``.

    Raises:
        ConfigError: It is a file, or lies below one.
    """
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / Path(cfg.filename).stem)
    problem = work_dir_problem(cfg.work_dir)
    if problem:
        raise ConfigError(problem)
    return cfg


def work_dir_problem(work_dir: str) -> str | None:
    """Return why a path cannot be the folder of a run; None if it can."""
    if not work_dir.strip():
        return "work_dir is empty: write the path of a folder, such as 'work_dirs/name'"
    place = Path(work_dir).absolute()
    while not os.path.lexists(place) and place.parent != place:
        place = place.parent
    if not place.is_dir():
        return f"work_dir={work_dir!r}: {place} is a file, where a folder is expected"
    return None


def set_resume(cfg: Config, resume: str) -> Config:
    """Continue from the newest checkpoint of the run's folder (``"auto"``), or from a file.

    Raises:
        CheckpointError: There is no such file.
    """
    cfg.resume = True
    cfg.load_from = None if resume == "auto" else existing_checkpoint(resume)
    return cfg


def set_checkpoint(cfg: Config, checkpoint: str) -> Config:
    """Load the weights of a file, and go on with no training.

    Raises:
        CheckpointError: There is no such file.
    """
    cfg.load_from = existing_checkpoint(checkpoint)
    # mmengine would otherwise look for a newer checkpoint in the folder of the run.
    cfg.resume = False
    return cfg


def existing_checkpoint(path: str) -> str:
    """Return ``path``, if it is a file of weights, an address or the name of weights.

    A name comes back as ``weights://NAME``; nothing is fetched.

    Raises:
        CheckpointError: It is none of these; the message names the checkpoints in the folder, or
            the nearest names.
    """
    name = entry_name(path)
    if name is not None:
        return SCHEME + find_entry(name).name
    exported = _EXPORTED.get(Path(path).suffix.lower())
    if exported:
        raise CheckpointError(
            f"{path} is an {exported} file; give the .pth or .safetensors it was exported from."
        )
    if "://" not in path and not Path(path).is_file():
        near = Path(path).parent.glob("*")
        known = sorted(f.name for f in near if f.suffix in (".pth", ".pt", ".safetensors"))[:5]
        hint = f" The folder {Path(path).parent} holds {', '.join(known)}." if known else ""
        if Path(path).name == path:
            hint += did_you_mean(path, load_index().entries)
        raise CheckpointError(f"There is no checkpoint {path}.{hint}")
    return path


def use_amp(cfg: Config) -> Config:
    """Use mixed precision: half floats with loss scaling on a GPU, bfloat16 on a CPU.

    Raises:
        ConfigError: The config's optimiser wrapper has no mixed-precision form.
    """
    wrapper = cfg.get("optim_wrapper") or {}
    type_name = wrapper.get("type", "OptimWrapper")
    if type_name == "AmpOptimWrapper":
        return cfg
    if type_name != "OptimWrapper":
        raise ConfigError(
            "--amp works with optim_wrapper.type='OptimWrapper', but "
            f"{cfg.filename} has {type_name!r}."
        )
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.loss_scale = "dynamic"
    return cfg


def use_cpu_amp(cfg: Config) -> Config:
    """Replace mmengine's mixed precision, which refuses to start on a CPU, by ours."""
    wrapper = cfg.get("optim_wrapper") or {}
    if wrapper.get("type") == "AmpOptimWrapper":
        cfg.optim_wrapper.type = "mmattn.CPUAmpOptimWrapper"
        for key in ("loss_scale", "dtype", "use_fsdp"):
            cfg.optim_wrapper.pop(key, None)
    return cfg


def scale_learning_rate(cfg: Config) -> Config:
    """Let mmengine scale the learning rate with the real batch size.

    Raises:
        ConfigError: The config does not say which batch size its learning rate belongs to.
    """
    if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
        raise ConfigError(
            f"--auto-scale-lr: {cfg.filename} does not say which batch size its learning rate "
            "belongs to. Add auto_scale_lr = dict(base_batch_size=16), with the right number."
        )
    cfg.auto_scale_lr.enable = True
    return cfg


def add_default_hooks(cfg: Config) -> Config:
    """Add what every run gets, without a change to any config file.

    Progress, result tables and curves; metrics that keep the values of each class; checkpoints
    that survive a kill; one network in all processes of a validation. A hook that the config has
    switched off (``None``) stays off.
    """
    # Set and then read: a config stores a copy of what it is given.
    cfg.default_hooks = cfg.get("default_hooks") or {}
    cfg.default_hooks.setdefault("checkpoint", {"type": "CheckpointHook"})
    checkpoint = cfg.default_hooks.checkpoint
    scope, name = scope_and_name((checkpoint or {}).get("type"), "mmengine")
    # Another package may have a hook of this name, which does something else.
    if name == "CheckpointHook" and (scope or "").partition(".")[0] in (
        "mmengine",
        "mmdet",
        "mmseg",
    ):
        checkpoint["type"] = "mmattn.CheckpointHook"
        _save_at_validations(checkpoint, cfg.get("train_cfg") or {})
    hooks = list(cfg.get("custom_hooks") or [])
    present = {hook.get("type") for hook in hooks if isinstance(hook, dict)}
    cfg.custom_hooks = hooks + [{"type": name} for name in HOOKS if name not in present]
    for key in ("val_evaluator", "test_evaluator"):
        if cfg.get(key):
            _replace_metrics(cfg[key], cfg.get("default_scope"))
    return cfg


def _save_at_validations(checkpoint: dict[str, Any], loop: Mapping[str, Any]) -> None:
    """Let a hook whose config does not say when it saves do so at each validation.

    mmengine would save at the end alone, so that a run that is stopped has nothing.
    """
    if "interval" in checkpoint:
        return
    by_iterations = loop.get("type") == "IterBasedTrainLoop" or loop.get("by_epoch") is False
    if by_iterations != (not checkpoint.get("by_epoch", not by_iterations)):
        return  # it counts in another unit than the validations
    checkpoint["by_epoch"] = not by_iterations
    checkpoint["interval"] = loop.get("val_interval", 1000 if by_iterations else 1)


def load_without_workers(cfg: Config) -> Config:
    """Leave out what only worker processes use, where ``num_workers`` is 0; torch would refuse it.

    Configs that keep their workers are thus debugged with ``num_workers=0`` alone.
    """
    for key in LOADERS:
        loader = cfg.get(key)
        if isinstance(loader, dict) and not loader.get("num_workers"):
            if loader.get("persistent_workers"):
                loader["persistent_workers"] = False
            loader.pop("prefetch_factor", None)
    return cfg


def name_visualizer(cfg: Config) -> Config:
    """Give the visualizer a name, which upstream's tools need in the config that a run leaves."""
    if cfg.get("visualizer"):
        cfg.visualizer.setdefault("name", "visualizer")
    return cfg


def import_mmattn(cfg: Config) -> Config:
    """Let the config import mmattn, whose types it names, so that upstream's tools can read it."""
    imports = cfg.get("custom_imports") or {}
    names = imports.get("imports") or []
    names = [names] if isinstance(names, str) else list(names)
    if "mmattn" not in names:
        cfg.custom_imports = {**imports, "imports": ["mmattn", *names]}
    return cfg


def _replace_metrics(evaluator: Any, scope: str | None) -> None:
    for _, metric in walk(evaluator):
        if not isinstance(metric, dict):
            continue
        found = scope_and_name(metric.get("type"), metric.get("_scope_") or scope)
        if found in _METRICS:
            metric["type"] = _METRICS[found]
