"""Load masks of a user's folder as labels."""

from __future__ import annotations

from mmcv.transforms import BaseTransform

from mmattn.errors import ConfigError, DataError
from mmattn.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadFolderMask(BaseTransform):
    """Load the mask of a ``FolderSegDataset``'s image, as ``gt_seg_map`` (H, W) uint8.

    An image that comes without a mask, as in prediction, passes unchanged.

    Raises:
        DataError: The mask does not have the folder's format, or has not its image's size.
    """

    def transform(self, results: dict) -> dict:
        path = results.get("seg_map_path")
        if path is None:
            return results
        if "mask_reader" not in results:
            raise ConfigError(
                "mmattn.LoadFolderMask loads masks of mmattn.FolderSegDataset; with another "
                "dataset write dict(type='LoadAnnotations')"
            )
        labels = results["mask_reader"](path)
        size = results.get("ori_shape", labels.shape)[:2]
        if labels.shape != tuple(size):
            raise DataError(
                f"the mask {path} is {labels.shape[0]} x {labels.shape[1]} (height x width), its "
                f"image {results['img_path']} is {size[0]} x {size[1]}. Pair the right files, or "
                "resize the mask by nearest neighbour to the image"
            )
        results["gt_seg_map"] = labels
        results.setdefault("seg_fields", []).append("gt_seg_map")
        return results
