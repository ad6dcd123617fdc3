"""Lets mmdet and mmseg be imported beside an mmcv newer than they ask for.

mmdet 3.3.0 and mmseg 1.2.2 assert mmcv < 2.2.0 while they are imported, though they run with 2.2.0.
Where such an assertion fails, the package is imported once more while mmcv gives its version as
the newest that was allowed; afterwards it gives its own again. A line in the log says so. An mmcv
of another major version, which the packages would not run with, fails as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

#: Packages that check mmcv's version when they are imported.
CHECKING = ("mmdet", "mmseg")
# The last release before 2.2.0; both accept it.
_ACCEPTED = "2.1.0"


def patch_version_check(module: ModuleType, execute: Callable[[], None]) -> None:
    """Execute ``module``, one of ``CHECKING``, and let the upper bound for mmcv pass."""
    try:
        execute()
        return
    except AssertionError as error:
        if not _is_newer_mmcv(error):
            raise
        reason = str(error)
    import mmcv

    with _pretending(mmcv, _ACCEPTED):
        execute()
    from mmengine.logging import print_log

    print_log(
        f"{module.__name__} {getattr(module, '__version__', '')} asks for an older mmcv than "
        f"{mmcv.__version__}; mmattn's bridge lets it pass ({reason})",
        logger="current",
        level=logging.INFO,
    )


def _is_newer_mmcv(error: AssertionError) -> bool:
    """Whether mmcv's upper bound is what failed: the same major version, beyond ``_ACCEPTED``."""
    import mmcv
    from mmengine.utils import digit_version

    if not str(error).upper().startswith("MMCV=="):
        return False
    found, accepted = digit_version(mmcv.__version__), digit_version(_ACCEPTED)
    return found[0] == accepted[0] and found > accepted


@contextmanager
def _pretending(mmcv: ModuleType, version: str) -> Iterator[None]:
    own = mmcv.__version__
    mmcv.__version__ = version
    try:
        yield
    finally:
        mmcv.__version__ = own
