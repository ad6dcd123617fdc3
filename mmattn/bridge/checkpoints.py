"""Replaces mmengine's reading and writing of checkpoints by ``mmattn.io``.

mmengine reads with ``weights_only=True`` plus an allow list that contains ``getattr``, and where
that fails it unpickles. Every way in which mmengine, mmdet and mmseg read weights (``load_from``,
``resume``, ``init_cfg=dict(type='Pretrained')``, ``load_checkpoint``, any URL scheme) passes the
few functions replaced here, so none of them unpickles any more, and all read safetensors too.
Writing is replaced as well: plain data, and a file that appears only when complete.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import re
import stat
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mmattn.errors import CheckpointError, MissingPrefixError
from mmattn.weights.names import SCHEME, entry_name

from ._replacing import replace

if TYPE_CHECKING:
    from torch import nn

    from mmattn.io import LoadReport

# What the original mmengine lacks; see ``torch_load.py``.
_OF_THE_FORK = ("_safe_torch_load", "get_torch_safe_globals")
_reports: WeakKeyDictionary[nn.Module, LoadReport] = WeakKeyDictionary()
#: Folder of a run -> the checkpoint that rank 0 has found, while all ranks resume from it.
_decided: dict[str, str | None] = {}


def patch_checkpoint_io(checkpoint_module: ModuleType) -> None:
    """Make everything in ``mmengine.runner.checkpoint`` read weights as data only."""
    loader = checkpoint_module.CheckpointLoader
    loader.register_scheme("", load_from_local, force=True)
    loader.register_scheme(SCHEME, load_by_name, force=True)
    for name, function in {
        "_safe_torch_load": read_for_mmengine,
        "get_torch_safe_globals": no_safe_globals,
        "load_url": load_url,
        "load_from_local": load_from_local,
        "load_state_dict": load_state_dict,
        "load_checkpoint": _naming_source(
            checkpoint_module.load_checkpoint, lambda arguments: arguments["filename"]
        ),
        "_load_checkpoint_with_prefix": load_with_prefix,
        "save_checkpoint": _saving(checkpoint_module.save_checkpoint),
        "find_latest_checkpoint": find_latest_checkpoint,
    }.items():
        replace(checkpoint_module, name, function, optional=name in _OF_THE_FORK)


def patch_runner(runner_module: ModuleType) -> None:
    """Make the Runner take files that hold weights alone, and its errors name the file."""
    runner = runner_module.Runner
    runner_module._load_checkpoint = _normalizing(runner_module._load_checkpoint)
    runner.load_checkpoint = _naming_source(
        runner.load_checkpoint, lambda arguments: arguments["filename"]
    )
    runner.resume = _refusing_bare_weights(runner.resume)
    runner.load_or_resume = _verifying_once(runner.load_or_resume)


def patch_pretrained_init(weight_init_module: ModuleType) -> None:
    """Make the errors of ``init_cfg=dict(type='Pretrained')`` name the file."""
    init = weight_init_module.PretrainedInit
    init.__call__ = _naming_source(init.__call__, lambda arguments: arguments["self"].checkpoint)


def read_for_mmengine(file, map_location=None, weights_only=None) -> Any:
    """``torch.load`` for mmengine, from a path or an open file; ``weights_only`` is ever true."""
    from mmattn.io.checkpoint_files import read_weights_file, read_weights_stream

    from .checkpoint_configs import drop_config_text
    from .checkpoint_content import revive

    is_path = isinstance(file, (str, os.PathLike))
    read = read_weights_file if is_path else read_weights_stream
    content = read(file, map_location, warn=_log_warning)
    return revive(drop_config_text(content))


def _log_warning(text: str) -> None:
    """Show a line, and write it into the log file of mmengine's run, if there is one."""
    from mmengine.logging import print_log

    print_log(text, logger="current", level=logging.WARNING)


def no_safe_globals() -> list:
    """The names allowed beside torch's own: none."""
    return []


def load_from_local(filename, map_location=None) -> Any:
    """Read a local file, or weights by their bare name; a missing file knows its neighbours."""
    if entry_name(str(filename)) is not None:
        return load_by_name(filename, map_location)
    return read_for_mmengine(filename, map_location=map_location)


def load_by_name(filename, map_location=None) -> Any:
    """Read ``weights://NAME``; each of several processes asks, and one of them downloads."""
    from mmengine.dist import get_rank
    from mmengine.logging import print_log

    from mmattn.weights import pull_weights

    pulled = pull_weights(entry_name(str(filename)) or "")
    if get_rank() == 0:
        print_log(f"Weights {pulled}", logger="current")
    return read_for_mmengine(str(pulled.path), map_location=map_location)


def load_url(
    url, model_dir=None, map_location=None, progress=True, check_hash=False, file_name=None
) -> Any:
    """Download a file once and read it as data; torch's function of this name unpickles."""
    from mmattn.io.fetch import fetch

    target = fetch(url, model_dir, file_name, progress=progress, check_hash=check_hash)
    return read_for_mmengine(target, map_location=map_location)


def unwrapped(module) -> Any:
    """Return the module inside a wrapper for a distributed run or test-time augmentation."""
    from mmengine.model import BaseTTAModel, is_model_wrapper

    wrapped = is_model_wrapper(module) or isinstance(module, BaseTTAModel)
    return module.module if wrapped else module


def load_report(module) -> LoadReport | None:
    """Return the report of the last weights that mmengine loaded into ``module``.

    Args:
        module: Network, with or without wrappers.

    Returns:
        None where none were loaded, or only by ways that pass ``load_state_dict`` by, such as
        deepspeed's.
    """
    return _reports.get(_innermost(module))


def _innermost(module) -> Any:
    while (inner := unwrapped(module)) is not module:
        module = inner
    return module


def load_state_dict(module, state_dict, strict=False, logger=None) -> None:
    """Load weights and log matched/total in one line; nothing matching is an error."""
    from mmengine.dist import get_rank
    from mmengine.logging import print_log

    from mmattn.io.load_into_model import load_into

    report = load_into(module, state_dict, strict=strict, unwrap=unwrapped)
    _reports[_innermost(module)] = report
    if get_rank() == 0:
        # A backbone that finds more than it needs (a classifier's last layer) is no cause to warn.
        # Nor are new blocks where a backbone is initialised, or where they change nothing; in a
        # whole model others may be.
        acting = set(report.newly_added) - set(report.identity)
        new_blocks = any(not key.startswith("plugins.") for key in acting)
        partial = report.missing_required or report.mismatched or new_blocks
        level = logging.WARNING if partial else logging.INFO
        print_log(f"Weights: {report}", logger=logger or "current", level=level)


def load_with_prefix(prefix, filename, map_location=None) -> dict:
    """The part of a checkpoint under ``prefix``, without the prefix."""
    from mmengine.runner.checkpoint import _load_checkpoint

    checkpoint = _load_checkpoint(filename, map_location=map_location)
    weights = checkpoint.get("state_dict", checkpoint)
    prefix = prefix.rstrip(".") + "."
    part = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
    if not part:
        heads = sorted({str(key).split(".", 1)[0] for key in weights})
        raise MissingPrefixError(
            f"{filename}: has nothing under the prefix {prefix!r}; it has {', '.join(heads[:8])}."
        )
    return part


def find_latest_checkpoint(path: str, *, verify: bool = True) -> str | None:
    """Return the newest checkpoint of the run in ``path`` that is whole.

    It is the file that ``last_checkpoint`` names, also after the directory was moved. Where that is
    damaged or missing, it is the newest other one, and the log says so. A run that was killed
    between its first checkpoint and the pointer to it has the checkpoint alone; it is found all the
    same.

    Args:
        path: Folder of the run.
        verify: Read the file to see that it is whole; otherwise the newest is returned unseen.

    Returns:
        None where the run has no checkpoint.

    Raises:
        CheckpointError: There are checkpoints, but all are damaged: starting anew would be a silent
            loss.
    """
    if verify and path in _decided:
        return _decided[path]
    from mmengine.logging import print_log

    pointer = os.path.join(path, "last_checkpoint")
    named = _named_by(pointer, path)
    if named is not None and "://" in named:
        return named
    others = [file for file in _by_age(path, named) if file != named]
    if named is None and not os.path.exists(pointer):
        found = f", but {others[0]}" if others else ""
        print_log(f"Did not find last_checkpoint to be resumed{found}.", logger="current")
    refused = []
    if named is None and os.path.exists(pointer):
        refused.append(f"{pointer}: is empty, so the run that wrote it was cut off.")
    for file in [named, *others] if named is not None else others:
        try:
            if verify:
                _require_whole(file)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        if refused:
            _log_warning(f"Resuming from {file}, the newest whole checkpoint: {' '.join(refused)}")
        return file
    if refused:
        raise CheckpointError(
            f"{path}: has no whole checkpoint to resume from: {' '.join(refused)} To start anew, "
            "leave --resume out or give another --work-dir."
        )
    return None


def _named_by(pointer: str, path: str) -> str | None:
    """Return the file that ``last_checkpoint`` names; None where it is missing or empty."""
    if not os.path.exists(pointer):
        return None
    with open(pointer, encoding="utf-8", errors="replace") as file:
        name = file.read().strip()
    if not name or "://" in name:
        return name or None
    # A relative name is relative to the directory; an absolute one may date from before a move.
    direct = os.path.join(path, name)
    moved = os.path.join(path, os.path.basename(name))
    return moved if not os.path.exists(direct) and os.path.exists(moved) else direct


def _by_age(path: str, named: str | None) -> list[str]:
    """Return the checkpoints that the checkpoint hook names by itself, the last written first."""
    folders = dict.fromkeys([path, *([os.path.dirname(named)] if named else [])])
    files = []
    for folder in folders:
        if os.path.isdir(folder):
            with os.scandir(folder) as entries:
                files += [
                    (entry.stat().st_mtime_ns, entry.path)
                    for entry in entries
                    if re.fullmatch(r"(iter|epoch)_\d+\.pth", entry.name) and entry.is_file()
                ]
    return [file for _, file in sorted(files, reverse=True)]


def _require_whole(file: str) -> None:
    from mmattn.io.checkpoint_files import require_whole

    if not os.path.isdir(file):  # as deepspeed's are
        require_whole(file)


def _saving(original: Callable) -> Callable:
    @functools.wraps(original)
    def save_checkpoint(checkpoint, filename, file_client_args=None, backend_args=None) -> None:
        from mmattn.io import save_torch

        from .checkpoint_content import plain_checkpoint

        content = plain_checkpoint(checkpoint)
        backend = (file_client_args or backend_args or {}).get("backend", "local")
        if "://" in str(filename) or backend not in ("local", "disk"):
            original(content, filename, file_client_args, backend_args)
            return
        save_torch(filename, content)

    return save_checkpoint


def _normalizing(read: Callable) -> Callable:
    """Wrap ``read`` so that hooks get what they expect: "state_dict", without "module."."""

    @functools.wraps(read)
    def load_checkpoint(*args, **kwargs):
        from mmattn.io.load_into_model import normalize_checkpoint

        checkpoint = read(*args, **kwargs)
        # The Runner removes "module." too, but only after the hooks, of which one is EMA's.
        return normalize_checkpoint(checkpoint) if isinstance(checkpoint, dict) else checkpoint

    return load_checkpoint


def _verifying_once(load_or_resume: Callable) -> Callable:
    """Let rank 0 alone read whether a checkpoint is whole, and take the file that it has found."""

    @functools.wraps(load_or_resume)
    def wrapper(self) -> None:
        from mmengine.dist import broadcast_object_list, get_rank, get_world_size

        from mmattn.io.checkpoint_files import found_whole

        searched = self._resume and self._load_from is None
        if self._has_loaded or get_world_size() == 1 or not (searched or self._load_from):
            return load_or_resume(self)
        outcome: list[Any] = [None]
        if get_rank() == 0:
            try:
                outcome = [_whole_checkpoint(self.work_dir if searched else None, self._load_from)]
            except CheckpointError as error:
                outcome = [error]
        broadcast_object_list(outcome)
        found = outcome[0]
        if isinstance(found, CheckpointError):
            raise found
        file, facts = found
        with contextlib.ExitStack() as stack:
            if searched:
                _decided[self.work_dir] = file
                stack.callback(_decided.pop, self.work_dir)
            # A copy of a node's own is another file.
            if facts is not None and facts == _facts(file):
                stack.enter_context(found_whole(file))
            return load_or_resume(self)

    return wrapper


def _whole_checkpoint(
    run: str | None, file: str | None
) -> tuple[str | None, tuple[int, int] | None]:
    """Return a checkpoint, the newest of ``run`` or else ``file``, and its facts if it is whole."""
    if run is not None:
        file = find_latest_checkpoint(run)
    facts = _facts(file) if file is not None else None
    if run is None and file is not None and facts is not None:
        _require_whole(os.path.expanduser(file))
    return file, facts


def _facts(file: str) -> tuple[int, int] | None:
    """Return size and time of a file; None where it is none of the local ones."""
    try:
        found = os.stat(os.path.expanduser(file))
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _refusing_bare_weights(resume: Callable) -> Callable:
    @functools.wraps(resume)
    def wrapper(self, filename, *args, **kwargs):
        try:
            return resume(self, filename, *args, **kwargs)
        except KeyError as error:
            if error.args[0] not in ("meta", "epoch", "iter", "message_hub"):
                raise
            raise CheckpointError(
                f"{filename}: cannot be resumed from: it has no {error.args[0]!r}; it holds "
                "weights but not the state of a training. Give it as `load_from` without `resume`."
            ) from error

    return wrapper


def _naming_source(function: Callable, source_of: Callable[[dict], Any]) -> Callable:
    """``function``, whose CheckpointErrors say which file they are about."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except CheckpointError as error:
            source = str(source_of(signature.bind(*args, **kwargs).arguments))
            if source in str(error):
                raise
            raise type(error)(f"{source}: {error}") from error

    return wrapper
