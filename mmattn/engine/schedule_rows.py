"""What of a training's schedule depends on its length and its batches, for the first screen.

A config is written for one batch size and one number of epochs. Run at others, its learning rate
does not fit, and what it does in the last epochs may take all of them, or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmattn.type_names import bare_name

if TYPE_CHECKING:
    from mmengine.hooks import Hook
    from mmengine.runner import Runner


def images_at_a_time(runner: Runner) -> int:
    """Return the images of one step, in all processes."""
    loader = runner.train_dataloader
    batch = getattr(loader, "batch_size", None) or getattr(loader.batch_sampler, "batch_size", 1)
    return batch * runner.world_size


def learning_rate_rows(runner: Runner) -> Iterator[str]:
    """Say how the learning rate was scaled, or would have to be, where the batches are others."""
    section = runner.cfg.get("auto_scale_lr") or {}
    base, batch = section.get("base_batch_size"), images_at_a_time(runner)
    if not base:
        return
    factor = batch / base
    if section.get("enable"):
        if factor != 1:
            yield (
                f"learning rate multiplied by {factor:.3g} (--auto-scale-lr): it was for batches "
                f"of {base}, not of {batch}"
            )
        return
    steps = int(getattr(runner.optim_wrapper, "_accumulative_counts", 1))
    factor *= steps
    if factor == 1:
        return
    meant = f"learning rate for batches of {base}, not of {batch}"
    if steps > 1:
        yield f"{meant} x {steps} accumulated: multiply optim_wrapper.optimizer.lr by {factor:.3g}"
    else:
        yield f"{meant}: --auto-scale-lr multiplies it by {factor:.3g}"


def pipeline_rows(runner: Runner) -> Iterator[str]:
    """Say in which epochs a hook lets the training go on with another pipeline.

    Known are ``mmattn.LastEpochsPipelineHook`` and mmdet's ``PipelineSwitchHook`` and
    ``YOLOXModeSwitchHook``.
    """
    total = runner.max_epochs
    if total <= 1 and "Epoch" not in type(runner.train_loop).__name__:
        return
    for hook in runner.hooks:
        last = _last_epochs(hook, total)
        if last is None:
            continue
        left_out = ", ".join(_left_out(hook, runner.train_dataloader.dataset))
        what = f"without {left_out}" if left_out else "with another pipeline"
        if hasattr(hook, "switch_epoch") and last <= 0:
            yield (
                f"no epoch {what}: switch_epoch={hook.switch_epoch} lies behind the last one"  # type: ignore[attr-defined]
            )
        elif last >= total:
            yield f"all {total} epochs {what}, as the last {last} of a longer training"
        elif last > 0:
            yield f"the last {last} of {total} epochs {what}"


def _last_epochs(hook: Hook, total: int) -> int | None:
    """Return how many epochs at the end a hook gives another pipeline; None if it is another."""
    if hasattr(hook, "switch_epoch") and hasattr(hook, "switch_pipeline"):
        return total - int(hook.switch_epoch)
    if hasattr(hook, "last_epochs") and hasattr(hook, "pipeline"):
        return int(hook.last_epochs)
    if hasattr(hook, "num_last_epochs") and hasattr(hook, "skip_type_keys"):
        return int(hook.num_last_epochs)
    return None


def _left_out(hook: Hook, dataset: Any) -> list[str]:
    """Return the names of the transforms that the pipeline of the last epochs lacks."""
    while not hasattr(dataset, "pipeline") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    steps = getattr(dataset, "pipeline", ())
    before = dict.fromkeys(type(step).__name__ for step in getattr(steps, "transforms", steps))
    skipped = getattr(hook, "skip", None) or getattr(hook, "skip_type_keys", None)
    if skipped:
        names = {bare_name(name) for name in skipped}
        return [name for name in before if name in names]
    after = getattr(hook, "pipeline", None) or getattr(hook, "switch_pipeline", None) or ()
    kept = {bare_name(step["type"]) for step in after if isinstance(step.get("type"), str)}
    return [name for name in before if name not in kept]
