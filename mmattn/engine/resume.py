"""Refuse to resume from another config's checkpoint, and say what an interruption costs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from mmattn.bridge.checkpoints import find_latest_checkpoint, load_report
from mmattn.errors import CheckpointError, MMAttnError
from mmattn.inference.model import unwrap_model

if TYPE_CHECKING:
    from mmengine.runner import Runner


def require_same_model(runner: Runner) -> None:
    """Make ``runner`` refuse to resume unless the checkpoint has exactly its model's weights.

    mmengine loads what fits with a warning, and fails at the optimiser's state, if at all.
    """
    runner.register_hook(_RequireSameShapes())
    load = runner.load_checkpoint

    def load_checkpoint(filename: str, *args: Any, **kwargs: Any) -> Any:
        checkpoint = load(filename, *args, **kwargs)
        report = load_report(runner.model)
        # Weights of a block's plain form load, but the optimiser's state lacks the scales.
        other = report is not None and (not report.complete or report.plain_form)
        if runner._resume and other:
            raise CheckpointError(_refusal(filename, str(report)))
        return checkpoint

    runner.load_checkpoint = load_checkpoint  # type: ignore[method-assign]


class _RequireSameShapes(Hook):
    """Compare a checkpoint with the model before other hooks, such as EMA's, load from it."""

    priority = "HIGHEST"

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of other shapes, or of which most belong to another model."""
        weights = checkpoint.get("state_dict")
        if not runner._resume or not isinstance(weights, dict):
            return
        own = {
            name.replace("_orig_mod.", ""): tuple(value.shape)
            for name, value in unwrap_model(runner).state_dict().items()
        }
        theirs = {
            str(name).replace("_orig_mod.", ""): tuple(getattr(value, "shape", ()))
            for name, value in weights.items()
        }
        fits = sum(theirs.get(name) == shape for name, shape in own.items())
        others = [name for name in own if name in theirs and theirs[name] != own[name]]
        if own and (others or fits < len(own) / 2):
            first = f", such as {others[0]}" if others else ""
            what = f"matched {fits}/{len(own)}, {len(others)} of another shape{first}"
            raise CheckpointError(_refusal(str(runner._load_from or runner.work_dir), what))


def _refusal(source: str, found: str) -> str:
    return (
        f"{source}: cannot be resumed from, because it is not a checkpoint of this config's model "
        f"({' '.join(found.split())}). Give the config of its training (it lies beside the "
        "checkpoint) or another --work-dir; to start a new training from its weights, leave "
        "--resume out and set load_from=FILE"
    )


def cost_of_interruption(runner: Runner | None) -> str:
    """Say how many steps are lost when ``runner`` stops now, and how to go on.

    Args:
        runner: Runner of the training; None where it was not built yet.
    """
    if runner is None:
        return "no step had been taken"
    try:
        done = runner.iter
        newest = find_latest_checkpoint(runner.work_dir, verify=False)  # at once: it reads nothing
    except (AttributeError, MMAttnError, OSError):
        return "no step had been taken"
    kept = None if newest is None else _steps_of(newest, runner)
    if newest is None or kept is None or kept > done or not Path(newest).exists():
        if not done:
            return "no step had been taken"
        return f"there is no checkpoint yet, so the {done} steps are lost"
    again = f"the {done - kept} steps after it are lost" if done > kept else "nothing is lost"
    return f"--resume goes on from {newest} (step {kept}); {again}"


def _steps_of(checkpoint: str, runner: Runner) -> int | None:
    """Return the iterations behind ``iter_N.pth`` or ``epoch_N.pth``."""
    match = re.fullmatch(r"(iter|epoch)_(\d+)\.\w+", Path(checkpoint).name)
    if match is None:
        return None
    count = int(match[2])
    return count if match[1] == "iter" else count * len(runner.train_dataloader)
