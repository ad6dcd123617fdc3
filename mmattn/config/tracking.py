"""Trackers of experiments beside the run's own files: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, did_you_mean
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.config import Config

#: Name for ``--track`` -> mmengine's backend of the visualizer.
TRACKERS = {
    "tensorboard": "TensorboardVisBackend",
    "wandb": "WandbVisBackend",
    "mlflow": "MLflowVisBackend",
}


def track(cfg: Config, names: Sequence[str]) -> Config:
    """Let a run log into trackers too: a backend of its visualizer each.

    A backend that the config has already keeps its settings.

    Args:
        cfg: Config of a run; it is changed.
        names: Keys of ``TRACKERS``.

    Raises:
        ConfigError: A name is unknown.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(
                f"--track {name}: unknown.{did_you_mean(name, TRACKERS)} There are "
                f"{', '.join(TRACKERS)}; for others write vis_backends into the config."
            )
    if not names:
        return cfg
    if not cfg.get("visualizer"):
        cfg.visualizer = {"type": "Visualizer"}
    backends = list(cfg.visualizer.get("vis_backends") or [{"type": "LocalVisBackend"}])
    present = {bare_name(backend.get("type")) for backend in backends}
    added = [TRACKERS[name] for name in dict.fromkeys(names) if TRACKERS[name] not in present]
    cfg.visualizer.vis_backends = [*backends, *({"type": backend} for backend in added)]
    return cfg
