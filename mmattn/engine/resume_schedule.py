"""A schedule that was changed between a training and its resumption: refuse, keep, or plan anew.

mmengine loads the whole state of a scheduler, its length included: a training that is resumed with
more epochs keeps the old end, behind which the learning rate never changes again, without a word
(mmengine#1565). Here the schedulers of the config are compared with those of the checkpoint. Where
they differ, ``resume_schedule`` of the config decides:

``new``
    The config's, as if it had held from the first step on: the schedulers are stepped from the
    start to where the checkpoint is, which is what a training without an interruption does.
``old``
    The checkpoint's, as mmengine does.

Without it the resumption is refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from mmattn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from mmengine.optim import _ParamScheduler
    from mmengine.runner import Runner

#: Key of the config, and its values.
OPTION, CHOICES = "resume_schedule", ("new", "old")
#: Where a scheduler is, as opposed to what it does.
_PROGRESS = frozenset(
    {"last_step", "verbose", "best", "num_bad_epochs", "cooldown_counter", "_global_step"}
)
Groups = list[dict[str, Any]]


def check_resumed_schedule(runner: Runner) -> None:
    """Make ``runner`` compare its schedule with that of a checkpoint that it resumes from.

    Raises:
        ConfigError: ``resume_schedule`` is neither ``new`` nor ``old``; behind this call, when the
            checkpoint is loaded, that the schedules differ and nothing says which one holds.
    """
    choice = runner.cfg.get(OPTION)
    if choice is not None and choice not in CHOICES:
        raise ConfigError(
            f"{OPTION}={choice!r}: give new (the config's schedule) or old (the checkpoint's)."
            f"{did_you_mean(str(choice), CHOICES)}"
        )
    runner.register_hook(_CompareSchedules(choice))


class _CompareSchedules(Hook):
    """Compare schedulers when a checkpoint was read, before its state is loaded."""

    priority = "VERY_HIGH"

    def __init__(self, choice: str | None) -> None:
        self.choice = choice

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse a changed schedule, or put the state of the config's into the checkpoint."""
        if not runner._resume or "param_schedulers" not in checkpoint:
            return
        pairs = list(_by_optimizer(runner.param_schedulers, checkpoint))
        changes = [
            change
            for fresh, saved, groups in pairs
            for change in (*schedule_changes(fresh, saved), *_fixed_rates(runner, fresh, groups))
        ]
        if not changes:
            return
        said = "; ".join(changes)
        if self.choice is None:
            raise ConfigError(_refusal(str(runner._load_from or runner.work_dir), said, pairs))
        if self.choice == "old":
            runner.logger.warning(
                "%s=old: the checkpoint's schedule holds, not the config's: %s", OPTION, said
            )
            return
        meta = checkpoint["meta"]
        steps, epochs = int(meta["iter"]), int(meta["epoch"])
        length = _epoch_length(runner, steps, epochs)
        for fresh, saved, groups in pairs:
            advance(fresh, steps, epochs, length)
            saved[:] = [scheduler.state_dict() for scheduler in fresh]
            _take_values(fresh, runner, groups)
        runner.logger.info(
            "%s=new: the config's schedule holds as if from the first step on: %s", OPTION, said
        )


def schedule_changes(
    fresh: Sequence[_ParamScheduler], saved: Sequence[Mapping[str, Any]]
) -> list[str]:
    """List what differs between new schedulers and the saved states of others.

    Args:
        fresh: Schedulers as the config builds them, not loaded yet.
        saved: What ``state_dict`` of the checkpoint's returned.

    Returns:
        Differences in words, the config's value before the checkpoint's.
    """
    if len(fresh) != len(saved):
        return [f"{len(fresh)} schedulers (checkpoint: {len(saved)})"]
    changes = []
    for scheduler, before in zip(fresh, saved, strict=True):
        # Functions, such as the annealing of OneCycleLR, are the config's; no checkpoint has them.
        now = {k: v for k, v in scheduler.state_dict().items() if not callable(v)}
        title = f"{type(scheduler).__name__} of {scheduler.param_name}"
        keys = [key for key in now if key not in _PROGRESS and not key.startswith("_last")]
        others = [k for k in before if k not in now and k not in _PROGRESS]
        lost = [key for key in keys if key not in before]
        if lost or others:
            changes.append(f"{title} (checkpoint: another kind of schedule)")
            continue
        for key in keys:
            if not _equal(now[key], before[key]):
                name = f"base {scheduler.param_name}" if key == "base_values" else key.strip("_")
                new, old = _shown(now[key], before[key])
                changes.append(f"{title}: {name} {new} (checkpoint: {old})")
    return changes


def advance(
    schedulers: Sequence[_ParamScheduler], steps: int, epochs: int, epoch_length: int
) -> None:
    """Step new schedulers to where a training is, as its hook does.

    Args:
        schedulers: Schedulers of one optimiser, at its first step.
        steps: Iterations behind it.
        epochs: Epochs behind it.
        epoch_length: Iterations of an epoch; 0 where the training has none.

    Raises:
        ConfigError: A scheduler looks at the results of validations, which are not there.
    """
    if any(getattr(scheduler, "need_val_args", False) for scheduler in schedulers):
        names = ", ".join(type(scheduler).__name__ for scheduler in schedulers)
        raise ConfigError(
            f"{OPTION}=new: {names} follows the results of validations, which cannot be repeated; "
            f"set {OPTION}=old, or start anew with load_from"
        )
    by_step = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    done = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no step of the optimiser comes before these
        for step in range(1, steps + 1):
            for scheduler in by_step:
                scheduler.step()
            if epoch_length and step % epoch_length == 0 and done < epochs:
                done += 1
                for scheduler in by_epoch:
                    scheduler.step()
        for _ in range(epochs - done):
            for scheduler in by_epoch:
                scheduler.step()


def _by_optimizer(
    schedulers: Any, checkpoint: Mapping[str, Any]
) -> Iterator[tuple[list[_ParamScheduler], list[dict[str, Any]], Groups]]:
    """Yield schedulers, their saved states and the saved groups, for each optimiser."""
    saved = checkpoint["param_schedulers"]
    optimizer = checkpoint.get("optimizer") or {}
    if isinstance(schedulers, dict) or isinstance(saved, dict):
        for name, own in (schedulers or {}).items():
            yield own, saved.get(name, []), _groups(optimizer.get(name) or {})
    else:
        yield list(schedulers or ()), saved, _groups(optimizer)


def _groups(optimizer: Mapping[str, Any]) -> Groups:
    """Return the groups that schedulers set, the one that mmengine adds for the log included."""
    groups = list(optimizer.get("param_groups", ()))
    base = optimizer.get("base_param_settings")
    return [*groups, base] if base is not None else groups


def _fixed_rates(runner: Runner, fresh: Sequence[_ParamScheduler], saved: Groups) -> list[str]:
    """List learning rates that no scheduler sets and that the checkpoint would set back."""
    if any(scheduler.param_name == "lr" for scheduler in fresh):
        return []
    groups = getattr(runner.optim_wrapper, "param_groups", None)
    if not isinstance(groups, list) or len(groups) != len(saved):
        return []
    now, before = [g.get("lr") for g in groups], [g.get("lr") for g in saved]
    if _equal(now, before):
        return []
    new, old = _shown(now, before)
    return [f"lr {new} (checkpoint: {old})"]


def _take_values(fresh: Sequence[_ParamScheduler], runner: Runner, saved: Groups) -> None:
    """Put the values of the schedulers' optimiser into the saved groups."""
    optimizer: Any = fresh[0].optimizer if fresh else runner.optim_wrapper
    own = optimizer.param_groups
    names = dict.fromkeys(scheduler.param_name for scheduler in fresh) or {"lr": None}
    for group, target in zip(own, saved, strict=True):
        for name in names:
            for key in (name, f"initial_{name}"):
                if key in group:
                    target[key] = group[key]


def _epoch_length(runner: Runner, steps: int, epochs: int) -> int:
    from mmengine.runner import IterBasedTrainLoop

    if isinstance(runner.train_loop, IterBasedTrainLoop):
        return 0
    length = len(runner.train_dataloader)
    if epochs * length <= steps < (epochs + 1) * length:  # also within an epoch
        return length
    return max(steps // max(epochs, 1), 1)  # batches were of another size


def _refusal(
    source: str,
    changes: str,
    pairs: Sequence[tuple[Sequence[_ParamScheduler], Sequence[Mapping[str, Any]], Groups]],
) -> str:
    over = [
        f"{scheduler.param_name} stays at {float(saved['_last_value'][0]):.4g}"
        for fresh, states, _ in pairs
        for scheduler, saved in zip(fresh, states, strict=False)
        if saved.get("_last_value")
        and saved.get("_global_step", 0) + 1 >= saved.get("end", math.inf)
        and "end" in changes
    ]
    ended = f", which is over: {over[-1]}" if over else ""
    return (
        f"{source}: the schedule of the config is not the one that this checkpoint was trained "
        f"with: {changes}. Say which one holds: {OPTION}=new for the config's, as if "
        f"from the first step on, or {OPTION}=old for the checkpoint's{ended}. To start a new "
        "training from its weights, leave --resume out and set load_from=FILE"
    )


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        first, second = sorted(first.items()), sorted(second.items())
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_equal, first, second))
    if isinstance(first, (int, float)) and isinstance(second, (int, float)):
        return math.isclose(first, second, rel_tol=1e-9)
    return bool(first == second)


def _shown(new: Any, old: Any) -> tuple[str, str]:
    """Return both values in short; of lists the first entries that differ."""
    lists = isinstance(new, (list, tuple)) and isinstance(old, (list, tuple))
    if lists and len(new) == len(old):
        new, old = next((a, b) for a, b in zip(new, old, strict=True) if not _equal(a, b))
    elif lists:
        new, old = f"{len(new)} values", str(len(old))
    if isinstance(new, Mapping):  # milestones, counted
        new, old = list(new), list(old)
    return tuple(f"{v:g}" if isinstance(v, float) else str(v) for v in (new, old))  # type: ignore
