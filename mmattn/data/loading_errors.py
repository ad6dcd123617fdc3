"""Make errors of loading transforms name the file that they failed on.

The checks before training read a sample of the files. What they did not see fails while training,
and decoders do not know file names: "cannot identify image file <_io.BytesIO object>" from a worker
process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from mmattn.errors import DataError, MMAttnError

_PATHS = ("seg_map_path", "img_path")
# A user's own transform keeps its traceback: what it raises may be a bug and not the file.
_PACKAGES = ("mmcv", "mmdet", "mmseg", "mmattn")


def name_files_in_errors() -> None:
    """Make each ``Load...`` transform of the OpenMMLab packages raise a DataError with its file.

    Worker processes that are forked, as by default on Linux, inherit it.
    """
    for loader in _loaders():
        if loader.__module__.partition(".")[0] not in _PACKAGES:
            continue
        method = vars(loader).get("transform")
        if callable(method) and not hasattr(method, "names_files"):
            loader.transform = _naming(method)


def _loaders() -> Iterator[type]:
    """Yield the classes of loading transforms in all scopes."""
    from mmengine.registry import TRANSFORMS

    registries = [TRANSFORMS]
    for registry in registries:
        registries.extend(registry.children.values())
        for name, kind in registry.module_dict.items():
            if name.startswith("Load") and isinstance(kind, type):
                yield from (base for base in kind.__mro__ if base.__name__.startswith("Load"))


def _naming(transform: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(transform)
    def named(self: Any, results: dict) -> Any:
        try:
            return transform(self, results)
        except MMAttnError:
            raise
        except Exception as error:
            files = [results[key] for key in _PATHS if isinstance(results.get(key), str)]
            if type(self).__name__.startswith("LoadImage"):
                files = files[-1:]  # the mask was not touched yet
            if not files:
                raise
            reason = " ".join(str(error).split()) or "no reason given"
            raise DataError(
                f"{' or '.join(files)}: {type(self).__name__} failed: {type(error).__name__}: "
                f"{reason}. mmattn check --full finds all such files"
            ) from error

    named.names_files = True
    return named
