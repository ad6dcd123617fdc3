"""Write the predictions of a test: as windows, plots, label maps or one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError
from mmattn.tasks import Task, task_of
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.config import Config


def show_predictions(
    cfg: Config,
    *,
    show: bool,
    show_dir: str | None,
    wait_time: float = 2.0,
    opacity: float | None = None,
    legend: bool = True,
) -> Config:
    """Draw the predictions, in windows or into a folder.

    Windows are upstream's. Images of semantic segmentation in mmseg are painted by
    ``PaintedPredictionsHook``, those of mmdet's tasks are drawn by its visualizer and named by
    ``DrawnPredictionsHook``; a visualisation hook of the config's own keeps its way.
    """
    task = task_of(cfg)
    if not cfg.get("visualizer"):
        backend = {"type": "LocalVisBackend"}
        cfg.visualizer = {"type": _spelled(task.visualizer, task, cfg), "vis_backends": [backend]}
    # Set and then read: a config stores a copy of what it is given.
    cfg.default_hooks = cfg.get("default_hooks") or {}
    cfg.default_hooks.setdefault(
        "visualization", {"type": _spelled(task.visualization_hook, task, cfg)}
    )
    hook = cfg.default_hooks.visualization
    if opacity is not None:
        cfg.visualizer["alpha"] = opacity
    ours = _hook_of_ours(task, hook) if show_dir else None
    if ours is not None:
        saves: dict = {"type": ours, "folder": show_dir}
        if ours == "mmattn.PaintedPredictionsHook":
            saves.update({} if opacity is None else {"opacity": opacity})
            saves.update({} if legend else {"legend": False})
        else:
            saves.update({key: hook[key] for key in ("score_thr", "backend_args") if key in hook})
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), saves]
        show_dir = None
        if not show:
            return cfg
    hook["draw"] = True
    if show:
        hook["show"] = True
        hook["wait_time"] = wait_time
    if show_dir:
        place, option = task.show_dir
        # mmdet's hook would put a relative path below the folder of the run.
        folder = os.path.abspath(show_dir)
        {"visualizer": cfg.visualizer, "hook": hook}[place][option] = folder
    return cfg


def _hook_of_ours(task: Task, hook: dict) -> str | None:
    """Return our hook that saves images in place of upstream's; None for a hook of one's own."""
    name = bare_name(hook.get("type"))
    if name == "SegVisualizationHook":
        return "mmattn.PaintedPredictionsHook" if task.label_map_metrics else None
    return "mmattn.DrawnPredictionsHook" if name == "DetVisualizationHook" else None


def dump_metric(cfg: Config, out: str) -> dict | None:
    """Return a further metric that writes all predictions into one file.

    Returns:
        The metric's config; None if ``out`` is not a ``.pkl`` file.
    """
    if not out.endswith((".pkl", ".pickle")):
        return None
    return {"type": task_of(cfg).dump_metric, "out_file_path": out}


def write_label_maps(cfg: Config, out: str) -> Config:
    """Let the metric write a folder of label maps, or of panoptic maps with their JSON file.

    Raises:
        ConfigError: ``out`` is not a folder's name, or no metric of the config writes maps.
    """
    if Path(out).suffix:
        raise ConfigError(
            f"--out {out}: predictions are written as a .pkl file or, in semantic and panoptic "
            "segmentation, as a folder of maps, whose name has no ending."
        )
    task = task_of(cfg)
    evaluators = cfg.get("test_evaluator") or []
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    for evaluator in evaluators:
        options = task.label_map_metrics.get(bare_name(evaluator.get("type")))
        if options is not None:
            panoptic = task.label_map_option == "outfile_prefix"
            place = os.path.join(out, "predictions") if panoptic else out
            evaluator.update({task.label_map_option: place, **options})
            return cfg
    raise ConfigError(
        f"--out {out}: only metrics of semantic (IoUMetric, SemSegMetric) or panoptic segmentation "
        f"write a folder of maps; for {task.name} give a file that ends in .pkl."
    )


def _spelled(name: str, task: Task, cfg: Config) -> str:
    """Return a type's name as the scope of ``cfg`` finds it."""
    return name if cfg.get("default_scope") == task.scope else f"{task.scope}.{name}"
