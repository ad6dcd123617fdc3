"""Teaches mmengine which packages exist, so that ``mmseg::…`` and ``mmattn::…`` resolve."""

from __future__ import annotations

from types import ModuleType


def patch_package_names(config_utils: ModuleType) -> None:
    """Extend mmengine's fixed table of scope -> package.

    mmengine looks a package up by import name or by distribution name. Its entry for mmseg is the
    distribution that stopped in 2024; the import name works with either distribution.
    """
    config_utils.MODULE2PACKAGE.update(mmseg="mmseg", mmattn="mmattn")


def patch_config_base(config: ModuleType) -> None:
    """Keep mmengine from putting scope ``mmattn`` on everything in a base of ours.

    A base called by package is taken to use that package's registries only, hence
    ``_base_ = ["mmattn::…"]`` would look up mmdet's and mmseg's parts in vain. Ours name mmattn's
    parts with their scope and leave the others to ``default_scope``, as a base called by its path.
    """
    find = config.Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path, scope = find(cfg_path, filename)
        return path, None if scope == "mmattn" else scope

    config.Config._get_cfg_path = staticmethod(get_cfg_path)
