"""A loading transform for images of any depth, turned as EXIF says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile as MMCVLoadImageFromFile

from mmattn.errors import ConfigError, DataError
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
        cache_mib: Memory in MiB for decoded images in each process that loads data, 0 for none.
            The images that were used last are kept. Decoding takes most of the time of a mosaic,
            which needs four; small datasets fit as a whole (100 images of 640 x 480 need 88 MiB).
        backend_args: Arguments of mmengine's file backend.

    Raises:
        ConfigError: ``bit_depth`` is not from 8 to 16, or ``cache_mib`` is negative.
        DataError: The image cannot be read.
    """

    def __init__(
        self,
        to_float32: bool = False,
        ignore_empty: bool = False,
        *,
        bit_depth: int | None = None,
        cache_mib: float = 0,
        backend_args: dict | None = None,
    ) -> None:
        check_bit_depth(bit_depth)
        super().__init__(
            to_float32=to_float32, ignore_empty=ignore_empty, backend_args=backend_args
        )
        self.bit_depth = bit_depth
        if cache_mib < 0:
            raise ConfigError(f"LoadImageFromFile: cache_mib={cache_mib} must be at least 0.")
        self._cache = DecodedImages(int(cache_mib * 2**20))

    def transform(self, results: dict) -> dict[str, Any] | None:
        """Load the image of ``img_path``."""
        path = results["img_path"]
        depth = results.get("bit_depth") if self.bit_depth is None else self.bit_depth
        try:
            image = self._cache.get((str(path), depth))
            if image is None:
                content = fileio.get(path, backend_args=self.backend_args)
                image = decode_image(content, str(path), bit_depth=depth)
                self._cache.put((str(path), depth), image)
        except (DataError, OSError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = image.astype(np.float32) if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results


class DecodedImages:
    """Decoded images up to a number of bytes; those not used for the longest time go first.

    Args:
        max_bytes: Largest sum of the images' sizes; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._images: OrderedDict[Hashable, np.ndarray] = OrderedDict()

    def get(self, key: Hashable) -> np.ndarray | None:
        """Return a copy of an image, which may be changed in place; None if it isn't there."""
        image = self._images.get(key)
        if image is None:
            return None
        self._images.move_to_end(key)
        return image.copy()

    def put(self, key: Hashable, image: np.ndarray) -> None:
        """Keep a copy of an image, unless it alone is too large."""
        if image.nbytes > self.max_bytes:
            return
        self._images[key] = image.copy()
        self.bytes += image.nbytes
        while self.bytes > self.max_bytes:
            self.bytes -= self._images.popitem(last=False)[1].nbytes
