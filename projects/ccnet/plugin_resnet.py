"""The detection backbone of CCNet's COCO experiments: attention between two blocks of a stage."""

from __future__ import annotations

from mmcv.cnn import build_plugin_layer
from mmdet.models.backbones import ResNet
from mmdet.models.layers import ResLayer
from torch import Tensor

from mmattn.registry import MODELS

_POSITION = "before_last_block"


@MODELS.register_module()
class StagePluginResNet(ResNet):
    """mmdet's ``ResNet`` with one more position of plugins, ``before_last_block``.

    mmdet's own positions insert a module into every block of a stage. CCNet, like the non-local
    network before it, inserts a single module into the stage. The names of the blocks do not
    change, so weights of a plain ResNet load.

    Args:
        plugins: Configs of plugins, as in mmdet; one with ``position='before_last_block'`` receives
            the input of the last block of its stages.
        **kwargs: Arguments of mmdet's ``ResNet``.
    """

    def make_res_layer(self, plugins: list[dict] | None = None, **kwargs) -> ResLayer:
        """Build a stage with its ``plugins``."""
        between = [plugin["cfg"] for plugin in plugins or () if plugin["position"] == _POSITION]
        within = [plugin for plugin in plugins or () if plugin["position"] != _POSITION]
        # None, not an empty list: blocks without plugins compare with None.
        kwargs["plugins"] = within or None
        return _PluginResLayer(between, **kwargs) if between else super().make_res_layer(**kwargs)


class _PluginResLayer(ResLayer):
    """A stage with modules before its last block; in the sequence they come last, by name."""

    def __init__(self, between: list[dict], *, planes: int, block: type, **kwargs):
        super().__init__(planes=planes, block=block, **kwargs)
        self._num_blocks = len(self)
        for cfg in between:
            cfg = dict(cfg)
            name, layer = build_plugin_layer(
                cfg, postfix=cfg.pop("postfix", ""), in_channels=planes * block.expansion
            )
            if name in self._modules:
                raise ValueError(f"two plugins have the name {name!r}; give one of them a postfix")
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        modules = list(self)
        blocks, between = modules[: self._num_blocks], modules[self._num_blocks :]
        for module in (*blocks[:-1], *between, blocks[-1]):
            x = module(x)
        return x
