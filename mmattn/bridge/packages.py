"""Teaches mmengine which packages exist, so that ``mmseg::…`` and ``mmattn::…`` resolve."""

from __future__ import annotations

from types import ModuleType


def teach_package_names(config_utils: ModuleType) -> None:
    """Extend mmengine's fixed table of scope -> package.

    mmengine looks a package up by import name or by distribution name. Its entry for mmseg is the
    distribution that stopped in 2024; the import name works with either distribution.
    """
    config_utils.MODULE2PACKAGE.update(mmseg="mmseg", mmattn="mmattn")
