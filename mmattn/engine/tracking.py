"""Which trackers a run logs into, and where: said before its first step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError, one_line

if TYPE_CHECKING:
    from mmengine.runner import Runner

#: Packages of trackers, whose own errors name neither the config nor a way out.
_PACKAGES = ("wandb", "mlflow")


def tracking_rows(runner: Runner) -> list[str]:
    """Say of each tracker whether it logs, and where; the run's own files are not told of."""
    backends = getattr(runner.visualizer, "_vis_backends", None) or {}
    rows = []
    for backend in backends.values():
        name = type(backend).__name__
        if name != "LocalVisBackend":
            rows.append(_SAID.get(name, _other)(backend))
    return rows


def _tensorboard(backend: Any) -> str:
    return f"TensorBoard logs into {backend._save_dir}: tensorboard --logdir {backend._save_dir}"


def _wandb(backend: Any) -> str:
    mode = os.environ.get("WANDB_MODE", "").lower()
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
        return "Weights & Biases does not log: the environment has WANDB_DISABLED set"
    if mode == "disabled":
        return "Weights & Biases does not log: the environment has WANDB_MODE=disabled"
    run = getattr(backend.experiment, "run", None)
    folder = getattr(run, "dir", None) or backend._save_dir
    if mode in ("offline", "dryrun"):
        return (
            f"Weights & Biases logs offline, by WANDB_MODE={mode}, into {folder}; wandb sync sends "
            "it later"
        )
    return f"Weights & Biases logs to {getattr(run, 'url', None) or folder}"


def _mlflow(backend: Any) -> str:
    mlflow = backend.experiment
    run = mlflow.active_run()
    where = f"MLflow logs to {mlflow.get_tracking_uri()}, experiment {backend._exp_name}"
    return where if run is None else f"{where}, run {run.info.run_id}"


def _other(backend: Any) -> str:
    return f"{type(backend).__name__} logs; {backend._save_dir} is its folder"


_SAID: dict[str, Callable[[Any], str]] = {
    "TensorboardVisBackend": _tensorboard,
    "WandbVisBackend": _wandb,
    "MLflowVisBackend": _mlflow,
}


@contextmanager
def explain_trackers(filename: str | None) -> Iterator[None]:
    """Name config and way out where a tracker cannot begin, such as without an account.

    Raises:
        ConfigError: A tracker raised an error of its own.
    """
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package not in _PACKAGES:
            raise
        offline = " WANDB_MODE=offline logs into the run's folder." if package == "wandb" else ""
        raise ConfigError(
            f"{filename}: {package} cannot log: {one_line(error)}.{offline} Leave its backend out "
            "of visualizer.vis_backends (or --track) to run without it."
        ) from error
