"""mmdet's dataset that mixes images, without its copies."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmdet.datasets import MultiImageMixDataset as MMDetMultiImageMixDataset

from mmattn.errors import DataError
from mmattn.registry import DATASETS


@DATASETS.register_module()
class MultiImageMixDataset(MMDetMultiImageMixDataset):
    """Drop-in for ``mmdet.MultiImageMixDataset``: same options and images, in less time.

    mmdet's copies every image, with the annotations it came with, once when it is drawn and again
    before each transform, so that a transform that returns None can be tried again on the same
    input. Here an image is drawn afresh instead, and another one if that is None too.
    """

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """Return an image that went through the pipeline.

        Raises:
            DataError: ``max_refetch`` draws gave no image.
        """
        for _ in range(self.max_refetch):
            results = self._draw(idx)
            if results is not None:
                return results
            idx = int(np.random.randint(0, len(self)))
        raise DataError(
            f"MultiImageMixDataset: {self.max_refetch} draws in a row gave no image, the last was "
            f"image {idx}: its loading steps, or {', '.join(self.pipeline_types)}, return None."
        )

    def _draw(self, idx: int) -> dict[str, Any] | None:
        results: dict[str, Any] | None = self.dataset[idx]
        for transform, name in zip(self.pipeline, self.pipeline_types, strict=True):
            if results is None:
                return None
            if self._skip_type_keys is not None and name in self._skip_type_keys:
                continue
            if hasattr(transform, "get_indexes"):
                indexes = transform.get_indexes(self.dataset)
                indexes = [indexes] if isinstance(indexes, int) else indexes
                results["mix_results"] = [self.dataset[index] for index in indexes]
                if any(other is None for other in results["mix_results"]):
                    return None
            results = transform(results)
            if results is not None:
                results.pop("mix_results", None)
        return results
