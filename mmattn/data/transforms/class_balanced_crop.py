"""Random crops that rare classes are in as often as common ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import RandomCrop

from mmattn.errors import ConfigError
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ClassBalancedCrop(RandomCrop):
    """mmseg's ``RandomCrop`` that now and then aims at a class of its own choice.

    With probability ``prob`` a class is drawn among those that the image has, each as likely as
    the others whatever its size, then one of its pixels, and the crop is laid with that pixel in
    its middle, or as near to it as the image's border allows. Otherwise the crop is upstream's,
    ``cat_max_ratio`` included.

    Args:
        crop_size: Height and width, or one number for both.
        prob: Share of the crops that aim, 0 to 1.
        classes: Indices of the classes to aim at, the rare ones for instance; all by default. A
            image without them is cropped as upstream does.
        cat_max_ratio: Largest share of one class in a crop that does not aim at a class.
        ignore_index: Label that is no class.

    Raises:
        ConfigError: ``prob`` is no probability, or ``classes`` is empty or no list of indices.

    Example:
        In a pipeline, after the masks were loaded::

            dict(type="mmattn.ClassBalancedCrop", crop_size=(360, 360), prob=0.5, classes=[2, 6, 9])
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        prob: float = 0.5,
        classes: Sequence[int] | None = None,
        cat_max_ratio: float = 1.0,
        ignore_index: int = 255,
    ) -> None:
        # A list is what JSON and --cfg-options make of a pair.
        size = tuple(crop_size) if isinstance(crop_size, list) else crop_size
        super().__init__(size, cat_max_ratio, ignore_index)
        if not 0 <= prob <= 1:
            raise ConfigError(f"ClassBalancedCrop: prob={prob} must lie between 0 and 1.")
        if classes is not None and (
            isinstance(classes, str)
            or not len(classes)
            or not all(isinstance(one, (int, np.integer)) and one >= 0 for one in classes)
        ):
            raise ConfigError(
                f"ClassBalancedCrop: classes={classes!r} must be indices of classes, such as "
                "[2, 6]. Leave it out to aim at any class."
            )
        self.prob = prob
        self.classes = None if classes is None else sorted(set(classes))

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Return where to crop: top, bottom, left, right.

        Args:
            results: With ``img`` and ``gt_seg_map``.
        """
        if np.random.rand() < self.prob:
            label = results["gt_seg_map"]
            present = np.unique(label)
            present = present[present != self.ignore_index]
            if self.classes is not None:
                present = np.intersect1d(present, self.classes)
            if present.size:
                places = np.flatnonzero(label == np.random.choice(present))
                middle = divmod(int(np.random.choice(places)), label.shape[1])
                return self._around(middle, label.shape)
        return super().crop_bbox(results)

    def _around(self, middle: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
        box = []
        for place, length, side in zip(middle, shape, self.crop_size, strict=True):
            start = min(max(place - side // 2, 0), max(length - side, 0))
            box += [start, start + side]
        return tuple(box)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(crop_size={self.crop_size}, prob={self.prob}, "
            f"classes={self.classes}, cat_max_ratio={self.cat_max_ratio})"
        )
