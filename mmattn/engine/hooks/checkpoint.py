"""Saves checkpoints so that a run killed at any moment can be resumed.

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

from mmattn.io import atomic_write, sweep_leftovers
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
        self.file_backend = _LateRemoval(self.file_backend)
        if self.save_best and len(self.key_indicators) == 1:
            self.best_ckpt_path = self._where_now(self.best_ckpt_path)
        elif self.save_best:
            for indicator, path in self.best_ckpt_path_dict.items():
                self.best_ckpt_path_dict[indicator] = self._where_now(path)

    def _where_now(self, path: str | None) -> str | None:
        """A checkpoint of this run, wherever it lay when it was recorded.

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
        self._remove_surplus()

    def _save_best_checkpoint(self, runner, metrics: dict[str, Any]) -> None:
        """Save the best so far; its predecessor is deleted after that."""
        super()._save_best_checkpoint(runner, metrics)
        if is_main_process():
            self._remove_surplus()

    def _discard(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # deepspeed's checkpoints are directories
            self.file_backend.rmtree(path)

    def _remove_surplus(self) -> None:
        best = [
            getattr(self, "best_ckpt_path", None),
            *getattr(self, "best_ckpt_path_dict", {}).values(),
        ]
        self.file_backend.remove_noted(spare={self.last_ckpt, *best})


class _LateRemoval:
    """A file backend that notes removals and makes them when told to."""

    def __init__(self, backend: Any):
        self._backend = backend
        self._noted: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._noted.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._noted.append((self._backend.rmtree, path))

    def remove_noted(self, spare: set[str | None]) -> None:
        """Remove what was noted, but nothing that was written again in the meantime."""
        noted, self._noted = self._noted, []
        for remove, path in noted:
            if path not in spare and self._backend.exists(path):
                remove(path)


def _relative(path: str, work_dir: str) -> str:
    """``path`` as seen from ``work_dir``, if it lies in there."""
    if "://" in path:
        return path
    inside = os.path.relpath(path, work_dir)
    return os.path.abspath(path) if inside.startswith(os.pardir) else inside
