"""mmseg's ``EncoderDecoder`` with inference in bounded memory and blended windows.

    model = dict(type='mmattn.EncoderDecoder', ...,
                 test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341),
                               blend='cosine'))

Training, weights and everything else are upstream's. See
``mmattn/layers/logit_maps.py`` for the method.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder as _EncoderDecoder
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures import SegDataSample
from torch import Tensor

from mmattn.errors import ConfigError, did_you_mean
from mmattn.layers.logit_maps import BLENDS, LogitMaps, Window, best_class, scaled, sliding_windows
from mmattn.registry import MODELS

_MODES = ("whole", "slide")
# The axes of (n, H, W) that mmcv's RandomFlip turned round; mmseg undoes the first two alone.
_FLIPPED = {"horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}
_KEYS = ("mode", "crop_size", "stride", "blend", "keep_logits")


@MODELS.register_module()
class EncoderDecoder(_EncoderDecoder):
    """Drop-in for ``mmseg.EncoderDecoder``: the same weights, losses and labels.

    It never holds the logits of all classes at the image's size, unless ``keep_logits`` asks for
    them. This applies to heads that return small logits and leave the resizing to
    ``BaseDecodeHead``, as nearly all do; heads such as MaskFormer's make large maps themselves.

    Args:
        test_cfg: Beside upstream's ``mode``, ``crop_size`` and ``stride``:

            - ``blend``: weights of sliding windows, ``"uniform"`` (as upstream) or ``"cosine"``
              (less at a window's rim).
            - ``keep_logits``: return ``seg_logits`` as upstream does, with the memory that they
              take; False. Test-time augmentation and the calibration error need them.

        args, kwargs: Arguments of ``mmseg.EncoderDecoder``.

    Raises:
        ConfigError: A setting in ``test_cfg`` is invalid.
    """

    def __init__(self, *args: Any, test_cfg: Mapping[str, Any] | None = None, **kwargs: Any):
        _check(test_cfg or {})
        super().__init__(*args, test_cfg=test_cfg, **kwargs)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment images.

        Args:
            inputs: (N, 3, H, W), normalised.
            data_samples: Samples of the pipeline, to which results are added. Without them,
                results have the size of the input.

        Returns:
            Samples with ``pred_sem_seg``, (1, height, width) int64, in the size of the files.
        """
        cfg = self.test_cfg or {}
        if cfg.get("keep_logits", False) or self.out_channels == 1:
            return super().predict(inputs, data_samples)
        samples = data_samples or [SegDataSample() for _ in inputs]
        metas = [sample.metainfo for sample in samples] if data_samples else None
        for index, maps in enumerate(self._logit_maps(inputs, metas)):
            if metas is None:
                label = best_class(maps, _as_they_are, maps.size)
            else:
                finish = partial(self._finish, meta=metas[index])
                label = best_class(maps, finish, metas[index]["ori_shape"])
            samples[index].set_data({"pred_sem_seg": PixelData(data=label[None])})
        return samples

    def inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Compute the logits of all classes at the input's size, (N, K, H, W)."""
        images = self._logit_maps(inputs, batch_img_metas)
        return torch.stack([maps.stacked() for maps in images])

    def _logit_maps(self, inputs: Tensor, metas: list[dict] | None) -> list[LogitMaps]:
        """Run the network on the whole images or on their windows."""
        cfg = self.test_cfg or {}
        size = tuple(inputs.shape[2:])
        whole = Window(0, size[0], 0, size[1])
        windows = [whole]
        if cfg.get("mode", "whole") == "slide":
            windows = sliding_windows(size, cfg["crop_size"], cfg["stride"])
        parts = [(window, self._head_logits(window.of(inputs), metas)) for window in windows]
        return [
            LogitMaps(
                [(window, logits[index]) for window, logits in parts],
                size,
                align_corners=self.align_corners,
                blend=cfg.get("blend", "uniform"),
                dtype=inputs.dtype,
            )
            for index in range(len(inputs))
        ]

    def _head_logits(self, inputs: Tensor, metas: list[dict] | None) -> Tensor:
        """Compute logits (N, K, h, w) of images or windows, small where the head leaves them so."""
        head = type(self.decode_head)
        if (
            head.predict is BaseDecodeHead.predict
            and head.predict_by_feat is BaseDecodeHead.predict_by_feat
        ):
            return self.decode_head.forward(self.extract_feat(inputs))
        # A torch.Size is how mmseg's heads tell a window from an image, whose padding they heed.
        shape = {"img_shape": inputs.shape[2:], "pad_shape": inputs.shape[2:]}
        metas = metas or [{}] * len(inputs)
        return self.encode_decode(inputs, [{**meta, **shape} for meta in metas])

    def _finish(self, maps: Tensor, meta: dict) -> Tensor:
        """Crop, unflip and resize maps (n, H, W) as ``postprocess_result`` does."""
        left, right, top, bottom = meta.get("img_padding_size", meta.get("padding_size", [0] * 4))
        height, width = maps.shape[1:]
        maps = maps[:, top : height - bottom, left : width - right]
        if meta.get("flip"):
            maps = maps.flip(_FLIPPED[meta["flip_direction"]])
        return scaled(maps, meta["ori_shape"], self.align_corners)


def _as_they_are(maps: Tensor) -> Tensor:
    return maps


def _check(test_cfg: Mapping[str, Any]) -> None:
    where = "mmattn.EncoderDecoder: test_cfg"
    for key in test_cfg:
        # Heads may have settings of their own there, so only slips are refused.
        if key not in _KEYS and did_you_mean(key, _KEYS):
            raise ConfigError(f"{where} has no {key!r}.{did_you_mean(key, _KEYS)}")
    for key, known in (("mode", _MODES), ("blend", BLENDS)):
        value = test_cfg.get(key, known[0])
        if value not in known:
            hint = did_you_mean(str(value), known) or f" There are {', '.join(known)}."
            raise ConfigError(f"{where}.{key}={value!r} is unknown.{hint}")
    if test_cfg.get("mode") != "slide":
        if test_cfg.get("blend", "uniform") != "uniform":
            raise ConfigError(f"{where}.blend is about windows: it needs mode='slide'.")
        return
    for key in ("crop_size", "stride"):
        value = test_cfg.get(key)
        pair = isinstance(value, (tuple, list)) and len(value) == 2
        if not pair or not all(isinstance(side, int) and side > 0 for side in value):
            raise ConfigError(
                f"{where}.{key}={value!r} must be (height, width) in pixels for mode='slide'."
            )
    sides = zip(test_cfg["stride"], test_cfg["crop_size"], strict=True)
    if any(step > side for step, side in sides):
        raise ConfigError(
            f"{where}: stride {tuple(test_cfg['stride'])} is larger than crop_size "
            f"{tuple(test_cfg['crop_size'])}, so that pixels between the windows have no class."
        )
