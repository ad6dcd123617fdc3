"""Save checkpoints so that a run killed at any moment can be resumed.

mmengine's hook deletes the old checkpoint before it writes the new one, and writes
``last_checkpoint`` in place and with an absolute path. Here the order is: write the new file under
a temporary name, give it its own, point ``last_checkpoint`` at it, delete what is surplus. (That a
file appears only when complete is ``mmattn.bridge.checkpoints``' doing, for every hook.)
"""

from __future__ import annotations

import fnmatch
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook

from mmattn.engine.accumulated_gradients import KEY as GRADIENTS
from mmattn.engine.accumulated_gradients import collect_gradients, restore_gradients
from mmattn.errors import CheckpointError, ConfigError, StorageError, one_line
from mmattn.io import atomic_write, read_checkpoint, sweep_leftovers
from mmattn.io.storage import telling_storage_errors
from mmattn.registry import HOOKS

#: Where the name of a checkpoint stands that a stopped run wrote out of turn.
_OUT_OF_TURN = "stopped_ckpt"


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's ``CheckpointHook``, with the same arguments and files, that survives being killed.

    - The newest complete checkpoint, and each ``best_*``, stays until its successor is on the disk.
    - ``last_checkpoint`` holds a name relative to its directory, so a run can be moved.
    - Surplus checkpoints and temporary files that a killed run left are removed at its resume.
    - Gradients that are accumulated and not applied yet are saved too.
    - An old file that cannot be deleted costs a warning, not the run.

    Args:
        on_write_error: What happens when a checkpoint cannot be written: ``"stop"`` ends the run in
            all processes, ``"continue"`` logs the error and tries again at the next one. If the
            last one of a training cannot be written, it ends with the error in both cases.
        arguments: Those of mmengine's hook.

    Raises:
        StorageError: A checkpoint cannot be written. The last one before it is untouched.
        ConfigError: ``on_write_error`` is something else.
    """

    def __init__(self, *arguments: Any, on_write_error: str = "stop", **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if on_write_error not in ("stop", "continue"):
            raise ConfigError(f"CheckpointHook: {on_write_error=} must be 'stop' or 'continue'")
        self.on_write_error = on_write_error
        self._unsaved: StorageError | None = None
        self._gradients: Any = None

    def after_load_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Take up the gradients of a checkpoint between two updates of the weights."""
        self._gradients = checkpoint.get(GRADIENTS) if runner._resume else None

    def before_save_checkpoint(self, runner, checkpoint: dict[str, Any]) -> None:
        """Add the gradients that wait for an update."""
        if self._gradients is not None and "optimizer" in checkpoint:
            checkpoint[GRADIENTS] = self._gradients

    def before_train(self, runner) -> None:
        """Find the checkpoints of the run that is resumed, also where it was moved."""
        # mmengine would delete the surplus here, and end at a file that cannot be deleted.
        kept, self.max_keep_ckpts = self.max_keep_ckpts, min(self.max_keep_ckpts, 0) or sys.maxsize
        try:
            super().before_train(runner)
        finally:
            self.max_keep_ckpts = kept
        if runner._resume and self.last_ckpt is None:
            # Saved once more when a validation finds it the best, as without the stop.
            self.last_ckpt = self._where_now(runner.message_hub.runtime_info.get("last_ckpt"))
        restore_gradients(runner, self._gradients)
        self._gradients = None
        if is_main_process() and os.path.isdir(self.out_dir):
            for file in sweep_leftovers(self.out_dir):
                runner.logger.info(f"Removed {file.name}, which a killed run left unfinished.")
        if self.max_keep_ckpts > 0:
            # Without mmengine's limit: for a moment there is one more than is kept.
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)
            self._discard_surplus()
        if self.save_best:
            self._best = {metric: self._where_now(path) for metric, path in self._best.items()}
            if runner._resume and "://" not in self.out_dir:
                self._find_unrecorded_bests(runner)

    def _find_unrecorded_bests(self, runner) -> None:
        if self.key_indicators != ["auto"]:
            for metric in self.key_indicators:
                self._find_unrecorded_best(runner, metric)
            return
        # Which metric is the first will be known at the next validation; till then, the files say.
        metric = self._metric_of_best(runner)
        if metric is not None:
            with _replaced(self, key_indicators=self.key_indicators, rules=self.rules):
                self._init_rule(self.rules, [metric])
                self._find_unrecorded_best(runner, metric)

    def _metric_of_best(self, runner) -> str | None:
        """Return the metric of the newest best checkpoint of this run; None where there is none.

        Its name has the metric's without slashes; the validations it knows of have all of it.
        """
        steps = self.filename_tmpl.replace("{}", "*")
        files = Path(self.out_dir).glob(f"best_*_{steps}")
        for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            try:
                content = read_checkpoint(path)
            except CheckpointError:
                continue  # `_find_unrecorded_best` tells, where it is of the metric
            if content.get("meta", {}).get("seed") != runner.seed:
                continue
            for key in content.get("message_hub", {}).get("log_scalars", {}):
                split, _, metric = key.partition("/")
                name = f"best_{metric}_{steps}".replace("/", "_")
                if split == "val" and fnmatch.fnmatchcase(path.name, name):
                    return metric
        return None

    def _find_unrecorded_best(self, runner, metric: str) -> None:
        """Take up a best checkpoint of this run that the resumed one does not know of.

        It is saved after a validation, so that the newest checkpoint may be older. Without it the
        next validation would count as the best, whatever its score.
        """
        only = len(self.key_indicators) == 1
        info, key = runner.message_hub.runtime_info, None if only else metric
        score_key, path_key = ("best_score", "best_ckpt")
        if not only:
            score_key, path_key = f"best_score_{metric}", f"best_ckpt_{metric}"
        name = f"best_{metric}_{self.filename_tmpl}".replace("/", "_").replace("{}", "*")
        for path in sorted(Path(self.out_dir).glob(name)):
            if self._best.get(key) == str(path):
                continue
            try:
                content = read_checkpoint(path)
            except CheckpointError as error:
                runner.logger.warning(f"It does not count as the best so far: {error}")
                continue
            score = content.get("message_hub", {}).get("runtime_info", {}).get(score_key)
            if score is None or content.get("meta", {}).get("seed") != runner.seed:
                continue  # of another training in this folder
            if score_key in info and not self.is_better_than[metric](score, info[score_key]):
                continue
            runner.message_hub.update_info(score_key, score)
            runner.message_hub.update_info(path_key, str(path))
            self._best = {**self._best, key: str(path)}
            runner.logger.info(f"The best checkpoint so far is {path.name}, with {metric} {score}.")

    @property
    def _best(self) -> dict[str | None, str | None]:
        """Path of the best checkpoint by each metric; mmengine keeps a single one elsewhere."""
        if len(self.key_indicators) == 1:
            return {None: self.best_ckpt_path}
        return dict(self.best_ckpt_path_dict)

    @_best.setter
    def _best(self, paths: dict[str | None, str | None]) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths[None]
        else:
            self.best_ckpt_path_dict.update(paths)

    def _where_now(self, path: str | None) -> str | None:
        """Return the path in this run's folder of a checkpoint that lay elsewhere when recorded.

        A run that is resumed elsewhere must not delete files of the one it came from.
        """
        here = path and self.file_backend.join_path(self.out_dir, os.path.basename(path))
        return here if here and self.file_backend.exists(here) else None

    def save_between_steps(self, runner, *, between_epochs: bool, note: Mapping[str, Any]) -> str:
        """Save the state of a training between two steps, wherever that is; return the file.

        In the middle of an epoch, where checkpoints are named after epochs, the file is named after
        the step, and is removed when the resumed run has saved the next one and only so many are
        kept. To be called in all processes.

        Args:
            runner: Runner of the training.
            between_epochs: Whether an epoch has just ended.
            note: What is kept in the checkpoint's meta as ``stopped``.
        """
        settings = {"save_optimizer": True, "save_param_scheduler": True}
        if self.by_epoch and between_epochs:
            step = runner.epoch
        else:
            step = runner.iter
            if self.by_epoch:
                settings |= {"filename_tmpl": "iter_{}.pth", "max_keep_ckpts": -1}
                runner.message_hub.update_info(_OUT_OF_TURN, f"iter_{step}.pth")
        meta = {"epoch": runner.epoch, "iter": runner.iter, "stopped": dict(note)}
        with _replaced(self, on_write_error="stop", **settings):
            self._save_checkpoint_with_step(runner, step, meta)
        return str(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Save, point ``last_checkpoint`` at the file, then delete what is surplus."""
        previous, ids = self.last_ckpt, list(getattr(self, "keep_ckpt_ids", ()))
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            # The one to be deleted is recorded too: if we are killed before that, the next
            # `before_train` of the resumed run sees one too many and deletes it.
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        self._gradients = collect_gradients(runner)

        def save() -> None:
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                pointer, text = Path(runner.work_dir, "last_checkpoint"), self.last_ckpt
                text = _relative(text, runner.work_dir)
                with telling_storage_errors(pointer, len(text)), atomic_write(pointer, "w") as file:
                    file.write(text)

        error = _error_of(save)
        self._gradients = None
        if self._settle(runner, error):
            self._discard_out_of_turn(runner, name)
            self._discard_surplus()
            return
        self.last_ckpt = previous
        runner.message_hub.update_info("last_ckpt", previous)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(ids)
            runner.message_hub.update_info("keep_ckpt_ids", ids)

    def _save_best_checkpoint(self, runner, metrics: dict[str, Any]) -> None:
        """Save the best so far, then delete its predecessor."""
        if not self.save_best:
            return
        previous = self._best
        info = runner.message_hub.runtime_info
        scores = {key: value for key, value in info.items() if key.startswith("best_")}
        errors: list[StorageError] = []
        # mmengine deletes the predecessor before it saves, unless it knows of none.
        self._best = dict.fromkeys(previous)
        with _recording_errors(runner, errors):
            super()._save_best_checkpoint(runner, metrics)
        saved = self._best
        written = self._settle(runner, errors[0] if errors else None)
        if not written:
            saved = dict.fromkeys(previous)
            for key in [key for key in info if key.startswith("best_")]:
                info.pop(key)
            info.update(scores)
        self._best = {metric: saved[metric] or previous[metric] for metric in previous}
        if is_main_process():
            for metric, path in previous.items():
                if path and saved[metric] and path not in (saved[metric], self.last_ckpt):
                    self._discard(path)
                    runner.logger.info(f"The previous best checkpoint {path} is removed")

    def _settle(self, runner, error: StorageError | None) -> bool:
        """Let all processes know whether the first one could write; return whether it could.

        Raises:
            StorageError: It could not, and the policy is to stop.
        """
        outcome = [None if error is None else (str(error), error.errno)]
        broadcast_object_list(outcome)
        if outcome[0] is None:
            self._unsaved = None
            return True
        self._unsaved = error or StorageError(*outcome[0])
        if self.on_write_error == "stop":
            raise self._unsaved
        runner.logger.error(f"{self._unsaved} The training goes on (on_write_error='continue').")
        return False

    def after_train(self, runner) -> None:
        """Refuse to end as if all were well where the last checkpoint could not be written."""
        if self._unsaved is not None:
            raise self._unsaved
        super().after_train(runner)

    def _discard_surplus(self) -> None:
        while 0 < self.max_keep_ckpts < len(self.keep_ckpt_ids):
            old = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
            if is_main_process():
                self._discard(self.file_backend.join_path(self.out_dir, old))

    def _discard_out_of_turn(self, runner, newest: str) -> None:
        """Delete the checkpoint of a stop within an epoch, now that there is a regular one."""
        name = runner.message_hub.runtime_info.get(_OUT_OF_TURN)
        if name and name != newest and self.max_keep_ckpts > 0:
            runner.message_hub.runtime_info.pop(_OUT_OF_TURN)
            if is_main_process():
                self._discard(self.file_backend.join_path(self.out_dir, name))

    def _discard(self, path: str) -> None:
        try:
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # deepspeed's checkpoints are directories
                self.file_backend.rmtree(path)
        except Exception as error:  # of any kind, where a remote store is asked
            from mmengine.logging import print_log

            print_log(
                f"{path}: could not be deleted and stays: {one_line(error)}.",
                logger="current",
                level=logging.WARNING,
            )


def _error_of(save: Callable[[], None]) -> StorageError | None:
    try:
        save()
    except StorageError as error:
        return error
    return None


@contextmanager
def _recording_errors(runner, errors: list[StorageError]) -> Iterator[None]:
    """Let ``runner.save_checkpoint`` note that it cannot write, and return all the same."""
    save = runner.save_checkpoint

    def save_checkpoint(*args: Any, **kwargs: Any) -> None:
        error = _error_of(lambda: save(*args, **kwargs))
        if error is not None:
            errors.append(error)

    with _replaced(runner, save_checkpoint=save_checkpoint):
        yield


@contextmanager
def _replaced(thing: Any, **attributes: Any) -> Iterator[None]:
    """Let ``thing`` have other attributes for a while."""
    before = {name: vars(thing)[name] for name in attributes if name in vars(thing)}
    vars(thing).update(attributes)
    try:
        yield
    finally:
        for name in attributes:
            vars(thing).pop(name)
        vars(thing).update(before)


def _relative(path: str, work_dir: str) -> str:
    """Return ``path`` as seen from ``work_dir`` if it lies in there, else the absolute path."""
    if "://" in path:
        return path
    inside = os.path.relpath(path, work_dir)
    return os.path.abspath(path) if inside.startswith(os.pardir) else inside
