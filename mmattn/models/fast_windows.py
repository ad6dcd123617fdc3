"""``mmattn.WithFastWindows``: any Swin of mmdet, mmseg or timm, with a faster window attention.

    backbone=dict(_delete_=True, type='mmattn.WithFastWindows', inner=_base_.model.backbone)

What is built is the inner network itself: class, names of weights, outputs and exported files stay
what they were. Its window attention runs on ``mmattn.ops.window_attention``
(``mmattn.layers.fast_windows``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmattn.errors import ConfigError
from mmattn.layers.fast_windows import use_fast_windows
from mmattn.plugins.with_plugins import build_inner
from mmattn.registry import MODELS


@MODELS.register_module()
def WithFastWindows(
    inner: Mapping[str, Any] | nn.Module, *, pretrained: str | None = None
) -> nn.Module:
    """Build ``inner`` and let its window attention run on our operator.

    Args:
        inner: Config of a network with Swin blocks of mmdet, mmseg or timm, such as
            ``dict(type='mmdet.SwinTransformer', …)`` or ``dict(type='mmattn.TimmBackbone',
            model_name='swin_tiny_patch4_window7_224')``; or the module itself.
        pretrained: Weights of ``inner``; mmseg hands ``model.pretrained`` to its backbone this way.

    Returns:
        The inner network.

    Raises:
        ConfigError: It has no window attention that the operator computes; Swin V2 has none.
    """
    network = build_inner("WithFastWindows", inner, {"pretrained": pretrained})
    try:
        use_fast_windows(network)
    except ValueError as error:
        raise ConfigError(f"WithFastWindows: {error} Leave the wrapper away.") from None
    return network
