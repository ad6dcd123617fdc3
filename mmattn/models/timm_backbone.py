"""``mmattn.TimmBackbone``: any network of timm that gives feature maps, as a backbone.

    backbone=dict(type='mmattn.TimmBackbone', model_name='convnext_atto', out_indices=(0, 1, 2, 3),
                  pretrained='convnext_atto.safetensors', drop_path_rate=0.1)

It tells ``out_channels`` and ``strides``, which necks and heads need; the tools of mmattn compare
them with the config, and fill in the normalisation of the images that timm's weights were trained
with (``timm_normalization.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmattn.errors import ConfigError
from mmattn.plugins.dry_run import parameters_behind
from mmattn.registry import MODELS

from .timm_models import build_features, normalisation

_OWN_PREFIX = "timm_model."


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A network of timm that returns its feature maps as a tuple of (N, C, H, W).

    Networks that keep their maps channels-last inside (Swin, MambaOut, …) return them as the others
    do. Networks that can be made to take images of any size are; the rest take ``img_size``.

    Args:
        model_name: timm's name, with or without the tag of its weights.
        out_indices: Indices of the returned feature maps; timm's choice by default, usually all.
            Convolutional networks of timm count a map of stride 2 as number 0.
        in_channels: Channels of the images.
        img_size: Height and width, for networks that are made for one size.
        frozen_stages: Number of returned maps to freeze, from the first, with all that they are
            computed by: no gradients, norms and dropout in eval mode. -1 freezes none.
        norm_eval: Keep the statistics of batch norms.
        pretrained: File of weights, as timm publishes it or as this class saved it; read as data.
            The same as ``init_cfg=dict(type='Pretrained', checkpoint=…)``.
        init_cfg: Initialisation config of mmengine.
        **arguments: Arguments of the network, such as ``drop_path_rate``.

    Attributes:
        out_channels: Channels of each returned map.
        strides: Stride of each returned map.
        mean, std: Mean and standard deviation that timm normalises images with, RGB in 0 to 255.

    Raises:
        ConfigError: No such network, maps that it does not have, or an argument it does not take.

    Example:
        >>> import torch
        >>> net = TimmBackbone('resnet18', out_indices=(1, 2, 3, 4))
        >>> net.out_channels, net.strides
        ([64, 128, 256, 512], [4, 8, 16, 32])
        >>> net(torch.zeros(1, 3, 64, 96))[-1].shape
        torch.Size([1, 512, 2, 3])
    """

    def __init__(
        self,
        model_name: str,
        *,
        out_indices: Sequence[int] | None = None,
        in_channels: int = 3,
        img_size: int | tuple[int, int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
        **arguments: Any,
    ):
        if pretrained is not None:
            if not isinstance(pretrained, str) or init_cfg is not None:
                raise ConfigError(
                    f"TimmBackbone: pretrained={pretrained!r} must be the path of a file of "
                    "weights (nothing is downloaded), and excludes init_cfg."
                )
            init_cfg = {"type": "Pretrained", "checkpoint": pretrained}
        super().__init__(init_cfg)
        self._file = _weight_file(init_cfg)
        self.model_name = model_name
        self.in_channels = in_channels
        self.norm_eval = norm_eval
        self._build_arguments = {
            "out_indices": out_indices,
            "in_channels": in_channels,
            "img_size": img_size,
            **arguments,
        }
        self.timm_model = build_features(model_name, **self._build_arguments)
        self._channels_last = str(getattr(self.timm_model, "output_fmt", "")).endswith("NHWC")
        info = self.timm_model.feature_info
        self.out_channels: list[int] = list(info.channels())
        self.strides: list[int] = list(info.reduction())
        self.mean, self.std = normalisation(model_name)
        size = img_size or self.timm_model.pretrained_cfg.get("input_size", (3, 224, 224))[1:]
        self.input_size = (size, size) if isinstance(size, int) else tuple(size)
        self._frozen = _freeze(self, frozen_stages)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The maps. Shape (N, in_channels, H, W) -> a tuple of (N, out_channels[i], h, w)."""
        if torch.compiler.is_compiling():
            return self._maps(x)
        try:
            return self._maps(x)
        except (AssertionError, RuntimeError) as error:
            size, weight = tuple(x.shape[-2:]), next(self.parameters())
            # Other errors than of the size have messages of their own.
            alike = (x.dtype, x.device) == (weight.dtype, weight.device)
            memory = isinstance(error, torch.OutOfMemoryError) or "alloc" in str(error)
            fits = alike and x.shape[1] == self._build_arguments["in_channels"]
            if size == self.input_size or not fits or memory:
                raise
            raise ValueError(
                f"timm's {self.model_name} is made for images of {self.input_size} and cannot "
                f"take {size}: {error} Give TimmBackbone img_size=(height, width), and images "
                "of that size, or pad them to multiples of what the network asks for."
            ) from error

    def _maps(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = self.timm_model(x)
        if self._channels_last:
            return tuple(feature.permute(0, 3, 1, 2) for feature in maps)
        return tuple(maps)

    def train(self, mode: bool = True) -> TimmBackbone:
        """Set the mode of all modules but the frozen ones, which stay in eval mode."""
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Load the file of weights, if there is one.

        Raises:
            CheckpointError: It cannot be read safely, or is of another network.
        """
        if self._file is None or self.is_init:
            # timm has initialised the network when it was built.
            super().init_weights()
            return
        self._load(**self._file)
        self._is_init = True

    def _load(self, checkpoint: str, prefix: str | None = None, **_: Any) -> None:
        from mmattn.io.checkpoint_files import read_checkpoint
        from mmattn.io.convert import weights_of
        from mmattn.io.load_into_model import load_into

        from .timm_weights import read_timm_weights

        weights = weights_of(read_checkpoint(checkpoint))
        if prefix:
            start = prefix.rstrip(".") + "."
            weights = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        if any(key.startswith(_OWN_PREFIX) for key in weights):
            report = load_into(self, weights, source=checkpoint)
        else:
            weights, report = read_timm_weights(checkpoint, self.model_name, self._build_arguments)
            self.timm_model.load_state_dict(weights, strict=False)
        print_log(f"{checkpoint}: {report}", logger="current")


def _freeze(network: TimmBackbone, stages: int) -> list[str]:
    """Freeze the parameters behind the first ``stages`` maps; return modules frozen as a whole.

    Raises:
        ConfigError: There are not that many maps.
    """
    count = len(network.out_channels)
    if not -1 <= stages <= count:
        raise ConfigError(
            f"frozen_stages={stages}: {network.model_name} returns {count} maps, so it must be "
            f"0 to {count}."
        )
    if stages <= 0:
        return []
    frozen = parameters_behind(network, stages)
    for parameter in frozen:
        parameter.requires_grad_(False)
    names: list[str] = []
    for name, module in network.named_modules():
        held = list(module.parameters())
        inside = any(name.startswith(f"{outer}.") for outer in names)
        if name and held and not inside and all(parameter in frozen for parameter in held):
            names.append(name)
    return names


def _weight_file(init_cfg: Any) -> dict[str, Any] | None:
    """Return the arguments of mmengine's ``Pretrained`` in ``init_cfg``, None without one.

    Raises:
        ConfigError: They name something that would have to be downloaded.
    """
    for cfg in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if isinstance(cfg, dict) and "Pretrained" in str(cfg.get("type")):
            if "://" in str(cfg.get("checkpoint")):
                raise ConfigError(
                    f"TimmBackbone: checkpoint={cfg.get('checkpoint')!r} would be downloaded; "
                    "fetch it yourself and give the file."
                )
            return {key: value for key, value in cfg.items() if key != "type"}
    return None
