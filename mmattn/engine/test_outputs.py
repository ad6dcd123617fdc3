"""Where the predictions of a test go: windows, images, label maps or one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.config.overrides import is_segmentation, scope_and_name
from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config


def show_predictions(
    cfg: Config, *, show: bool, show_dir: str | None, wait_time: float = 2.0
) -> None:
    """Draw the predictions, in windows or into a folder, each as upstream's own tool does."""
    segments = is_segmentation(cfg)
    kind = "Seg" if segments else "Det"
    name = f"{kind}VisualizationHook"
    if not cfg.get("visualizer"):
        backend = {"type": "LocalVisBackend"}
        cfg.visualizer = {"type": f"{kind}LocalVisualizer", "vis_backends": [backend]}
    # Set and then read: a config stores a copy of what it is given.
    cfg.default_hooks = cfg.get("default_hooks") or {}
    cfg.default_hooks.setdefault("visualization", {"type": name})
    hook = cfg.default_hooks.visualization
    hook["draw"] = True
    if show:
        hook["show"] = True
        hook["wait_time"] = wait_time
    if show_dir and segments:
        cfg.visualizer["save_dir"] = show_dir
    elif show_dir:
        hook["test_out_dir"] = show_dir


def set_output(cfg: Config, out: str) -> dict | None:
    """Write predictions: a folder of label maps, or one ``.pkl`` file of everything.

    Returns:
        A further metric for the file, None for a folder.

    Raises:
        ConfigError: A folder is asked for, but no metric of the config writes one.
    """
    if out.endswith((".pkl", ".pickle")):
        dump = "mmengine.DumpResults" if is_segmentation(cfg) else "mmdet.DumpDetResults"
        return {"type": dump, "out_file_path": out}
    if Path(out).suffix:
        raise ConfigError(
            f"--out {out}: predictions are written as a .pkl file or, in semantic segmentation, as "
            "a folder of label maps, whose name has no ending."
        )
    evaluators = cfg.get("test_evaluator") or []
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    for evaluator in evaluators:
        name = scope_and_name(evaluator.get("type"), None)[1]
        if name in ("IoUMetric", "ClasswiseIoUMetric", "CityscapesMetric"):
            evaluator["output_dir"] = out
            if name == "CityscapesMetric":
                evaluator["keep_results"] = True
            return None
    raise ConfigError(
        f"--out {out}: only semantic segmentation writes a folder of label maps; for detection "
        "give a file that ends in .pkl."
    )
