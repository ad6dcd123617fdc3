"""Have the weights that a training starts from on the disk before anything else is done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmattn.config.walk import walk
from mmattn.errors import CheckpointError, MMAttnError, did_you_mean
from mmattn.io.fetch import fetch
from mmattn.weights.index import load_index
from mmattn.weights.local import local_checkpoint
from mmattn.weights.names import SCHEME, entry_name

if TYPE_CHECKING:
    from mmengine.config import Config

_HTTP = ("http://", "https://")
#: Schemes of mmengine -> function of ``mmengine.runner.checkpoint`` that knows their addresses.
_SCHEMES = {
    "torchvision://": "get_torchvision_models",
    "modelzoo://": "get_torchvision_models",
    "open-mmlab://": "get_external_models",
    "openmmlab://": "get_external_models",
    "mmcls://": "get_mmcls_models",
}
#: Settings of a model that name a file of weights.
_KEYS = ("checkpoint", "pretrained", "teacher_ckpt")


def fetch_checkpoint(cfg: Config) -> None:
    """Have the checkpoint of a test on the disk, if it is weights by name.

    Raises:
        CheckpointError: The weights cannot be had; the message says what to do.
    """
    if cfg.get("load_from"):
        local_checkpoint(cfg.load_from, _say)


def fetch_pretrained(cfg: Config) -> None:
    """Download the weights that a model's config names, unless they are in the cache.

    mmengine does so when the training starts: behind the data, and within an ``init_cfg`` whose
    errors do not say what is missing.

    Args:
        cfg: The whole config.

    Raises:
        CheckpointError: Weights cannot be downloaded, their name is unknown, or the file does not
            exist; the message has the key, the address, the place in the cache and the ways out.
    """
    for path, name in _weights(cfg):
        out = path if path.endswith("load_from") else _setting(path)
        start = f"{cfg.filename or 'The config'}: {path}={name!r}"
        without = (
            f"or train without these weights, from random ones (which needs more steps): {out}=None"
        )
        if entry_name(name) is not None:
            try:
                local_checkpoint(name, _say)
            except MMAttnError as error:
                raise type(error)(f"{start}: {error}") from error
            continue
        if "://" not in name:
            if not os.path.isfile(os.path.expanduser(name)):
                hint = did_you_mean(name, load_index().entries)
                raise CheckpointError(
                    f"{start}: there is no such file.{hint} Give its path, {without}"
                )
            continue
        url = _address(name, start)
        if url is None or not url.startswith(_HTTP):
            continue
        try:
            fetch(url)
        except CheckpointError as error:
            raise CheckpointError(f"{start}: {error}, {without}") from error


def _say(text: str) -> None:
    from mmengine.logging import print_log

    print_log(text, logger="current")


def _weights(cfg: Config) -> Iterator[tuple[str, str]]:
    if isinstance(cfg.get("load_from"), str) and cfg.load_from and not cfg.get("resume"):
        yield "load_from", cfg.load_from
    for path, value in walk(cfg.get("model"), "model"):
        if path.rpartition(".")[2] in _KEYS and isinstance(value, str) and value:
            known = value.startswith((*_HTTP, *_SCHEMES, SCHEME))
            # Other strings may be names of other libraries; those of Pretrained are files.
            if known or (path.endswith("init_cfg.checkpoint") and "://" not in value):
                yield path, value


def _setting(path: str) -> str:
    """Return the option that leaves weights out, as a command line writes paths."""
    path = path.replace("[", ".").replace("]", "")
    return path.removesuffix(".checkpoint") if path.endswith("init_cfg.checkpoint") else path


def _address(name: str, start: str) -> str | None:
    """Return the address behind a name; None for schemes that are not known here."""
    from mmengine.runner import checkpoint

    for scheme, function in _SCHEMES.items():
        if name.startswith(scheme):
            known = getattr(checkpoint, function)()
            bare = name.removeprefix(scheme)
            if "open" in scheme:
                bare = checkpoint.get_deprecated_model_names().get(bare, bare)
            if bare not in known:
                raise CheckpointError(
                    f"{start}: {scheme} has no weights {bare!r}.{did_you_mean(bare, known)}"
                )
            return known[bare]
    return name if name.startswith(_HTTP) else None
