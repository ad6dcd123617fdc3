"""A loading transform for images of any depth, turned as EXIF says."""

from __future__ import annotations

from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile

from mmattn.errors import DataError
from mmattn.images import check_bit_depth, decode_image
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageFromFile(MMCVLoadImageFromFile):
    """Load an image as ``img`` (H, W, 3) BGR, by the reader that checks and prediction use too.

    Ordinary images come out as mmcv's transform of this name gives them. Those of more than 8 bits
    need ``bit_depth`` and those that are floating-point or have five bands are refused, where
    mmcv's makes the first nearly black and fails on the others.

    Args:
        to_float32: Whether the image becomes float32, with the same values.
        ignore_empty: Return None for an image that cannot be read.
        bit_depth: Bits in use of images that have more than 8; by default that of the dataset.
        backend_args: Arguments of mmengine's file backend.

    Raises:
        ConfigError: ``bit_depth`` is not from 8 to 16.
        DataError: The image cannot be read.
    """

    def __init__(
        self,
        to_float32: bool = False,
        ignore_empty: bool = False,
        *,
        bit_depth: int | None = None,
        backend_args: dict | None = None,
    ) -> None:
        check_bit_depth(bit_depth)
        super().__init__(
            to_float32=to_float32, ignore_empty=ignore_empty, backend_args=backend_args
        )
        self.bit_depth = bit_depth

    def transform(self, results: dict) -> dict[str, Any] | None:
        """Load the image of ``img_path``."""
        path = results["img_path"]
        depth = results.get("bit_depth") if self.bit_depth is None else self.bit_depth
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            image = decode_image(content, str(path), bit_depth=depth)
        except (DataError, OSError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results
