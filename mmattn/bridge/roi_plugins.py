"""Lets the plugins of mmdet's ``GenericRoIExtractor`` start as the identity.

    roi_extractor = dict(type='GenericRoIExtractor', …,
                         post_cfg=dict(type='mmattn.CBAM', in_channels=256, init='identity'))

Upstream hands every key of ``pre_cfg`` and ``post_cfg`` to the block, which knows no ``init``.
Configs without that key are built by upstream's code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmattn.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

#: Module that defines ``GenericRoIExtractor``.
ROI_EXTRACTOR = "mmdet.models.roi_heads.roi_extractors.generic_roi_extractor"


def patch_roi_extractor(module: ModuleType) -> None:
    """Let ``module``, which is ``ROI_EXTRACTOR``, build plugins with ``init``."""
    if not hasattr(module.build_plugin_layer, "__wrapped__"):
        module.build_plugin_layer = _with_init(module.build_plugin_layer)


def _with_init(original: Callable) -> Callable:
    @functools.wraps(original)
    def build_plugin_layer(
        cfg: Mapping[str, Any], postfix: str = "", **kwargs: Any
    ) -> tuple[str, nn.Module]:
        if not isinstance(cfg, Mapping) or "init" not in cfg:
            return original(cfg, postfix, **kwargs)
        from mmattn.plugins.blocks import build_block

        rest = {**cfg, **kwargs}
        channels = rest.pop("in_channels", None)
        place = f"{'pre_cfg' if 'pre' in postfix else 'post_cfg'} of GenericRoIExtractor"
        if not isinstance(channels, int):
            raise ConfigError(
                f"{place}: with init={cfg['init']!r} it needs in_channels, the extractor's "
                f"out_channels; got {channels!r}."
            )
        return build_block({**rest, "postfix": postfix}, channels, place=place)

    return build_plugin_layer
