"""Save checkpoints so that a run killed at any moment can be resumed.

mmengine's hook deletes the old checkpoint before it writes the new one, and writes
``last_checkpoint`` in place and with an absolute path. Here the order is: write the new file under
a temporary name, give it its own, point ``last_checkpoint`` at it, delete what is surplus. (That a
file appears only when complete is ``mmattn.bridge.checkpoints``' doing, for every hook.)
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook

from mmattn.io import atomic_write, read_checkpoint, sweep_leftovers
from mmattn.registry import HOOKS


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's ``CheckpointHook``, with the same arguments and files, that survives being killed.

    - The newest complete checkpoint, and each ``best_*``, stays until its successor is on the disk.
    - ``last_checkpoint`` holds a name relative to its directory, so a run can be moved.
    - Surplus checkpoints and temporary files that a killed run left are removed at its resume.
    """

    def before_train(self, runner) -> None:
        """Find the checkpoints of the run that is resumed, also where it was moved."""
        super().before_train(runner)
        if is_main_process() and os.path.isdir(self.out_dir):
            for file in sweep_leftovers(self.out_dir):
                runner.logger.info(f"Removed {file.name}, which a killed run left unfinished.")
        if self.max_keep_ckpts > 0:
            # Without mmengine's limit: for a moment there is one more than is kept.
            self.keep_ckpt_ids = deque(self.keep_ckpt_ids)
        if self.save_best:
            self._best = {metric: self._where_now(path) for metric, path in self._best.items()}
            if runner._resume and "://" not in self.out_dir:
                for metric in self.key_indicators:
                    self._find_unrecorded_best(runner, metric)

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
            content = read_checkpoint(path)
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

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        """Save, point ``last_checkpoint`` at the file, then delete what is surplus."""
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            # The one to be deleted is recorded too: if we are killed before that, the next
            # `before_train` of the resumed run sees one too many and deletes it.
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
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
        if not is_main_process():
            return
        with atomic_write(Path(runner.work_dir, "last_checkpoint"), "w") as file:
            file.write(_relative(self.last_ckpt, runner.work_dir))
        if self.max_keep_ckpts > 0:
            while len(self.keep_ckpt_ids) > self.max_keep_ckpts:
                old = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
                self._discard(self.file_backend.join_path(self.out_dir, old))

    def _save_best_checkpoint(self, runner, metrics: dict[str, Any]) -> None:
        """Save the best so far, then delete its predecessor."""
        if not self.save_best:
            return
        previous = self._best
        # mmengine deletes the predecessor before it saves, unless it knows of none.
        self._best = dict.fromkeys(previous)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            saved = self._best
            self._best = {metric: saved[metric] or previous[metric] for metric in previous}
        if is_main_process():
            for metric, path in previous.items():
                if path and saved[metric] and path not in (saved[metric], self.last_ckpt):
                    self._discard(path)
                    runner.logger.info(f"The previous best checkpoint {path} is removed")

    def _discard(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # deepspeed's checkpoints are directories
            self.file_backend.rmtree(path)


def _relative(path: str, work_dir: str) -> str:
    """Return ``path`` as seen from ``work_dir`` if it lies in there, else the absolute path."""
    if "://" in path:
        return path
    inside = os.path.relpath(path, work_dir)
    return os.path.abspath(path) if inside.startswith(os.pardir) else inside
