"""The choice of the one metric that is compared, and of those shown beside it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from mmattn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mmattn.tasks import Task


def pick_metric(
    metrics: Collection[str],
    wanted: str | None,
    task: Task,
    source: str,
    preferred: str | None = None,
) -> str:
    """Choose the wanted metric, else the preferred one, else the task's usual one, else the first.

    Args:
        metrics: Names of the metrics that there are.
        wanted: Name given by ``--metric``; None if it was not given.
        task: Task of the networks, which has a usual metric.
        source: Name of what has these metrics (a config, a run), used in messages.
        preferred: Name to take, if it is there, when none was given.

    Raises:
        ConfigError: ``wanted`` is not among ``metrics``, or there are none.
    """
    if wanted is not None:
        if wanted not in metrics:
            raise ConfigError(
                f"--metric {wanted}: {source} has no metric {wanted!r}."
                f"{did_you_mean(wanted, metrics)} It has {', '.join(sorted(metrics))}."
            )
        return wanted
    if not metrics:
        raise ConfigError(f"{source}: the evaluator returned no metric.")
    if preferred in metrics:
        return preferred
    # Names may have a prefix, as in coco/bbox_mAP.
    usual = (name for name in metrics if name.rpartition("/")[2] == task.default_metric)
    return next(usual, next(iter(metrics)))


def metrics_beside(metrics: Collection[str], chosen: str, task: Task) -> list[str]:
    """Return the task's usual metrics, except the chosen one, that there are under its prefix."""
    prefix = chosen.rpartition("/")[0]
    usual = (task.default_metric, *task.other_metrics)
    names = [f"{prefix}/{name}" if prefix else name for name in usual if task.other_metrics]
    return [name for name in names if name in metrics and name != chosen]
