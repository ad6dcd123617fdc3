"""Edge maps of label maps: the target of networks that learn where classes meet.

Two definitions are in use. The authors of PIDNet and BEVANet take the label map as it was loaded,

    edge = dilate(Canny(labels), 4x4), where Canny's answer near the border is dropped

before any scaling, so that the bands get wider and narrower with the image; the outline of
ignored regions counts. mmseg compares neighbours in the finished crop: every band is equally wide,
and ignored regions have no outline.
"""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import GenerateEdge

from mmattn.errors import ConfigError, DataError, did_you_mean
from mmattn.registry import TRANSFORMS

_METHODS = ("canny", "labels")
# Labels differ by whole numbers, whose gradients exceed both: no step is too weak to be an edge.
_LOW, _HIGH = 0.1, 0.2


@TRANSFORMS.register_module()
class GenerateEdgeMap(BaseTransform):
    """Add ``gt_edge_map``, 1 where classes meet and 0 elsewhere, from ``gt_seg_map``.

    Put it right after loading the labels: scaling, cropping and flipping treat the map like one of
    labels from there on. With ``method='labels'`` put it behind them for what mmseg does.

    Args:
        method: ``"canny"``, the authors' way, or ``"labels"``, mmseg's ``GenerateEdge``.
        edge_width: Side of the square that widens the edges, in pixels.
        border: Edges this near to the border of the image are dropped before they are widened, in
            pixels; the authors drop none on CamVid. Only for ``"canny"``.
        ignore_index: The label that has no edges. Only for ``"labels"``.

    Raises:
        ConfigError: There is no such method, or a width is out of range.
    """

    def __init__(
        self,
        *,
        method: str = "canny",
        edge_width: int = 4,
        border: int = 6,
        ignore_index: int = 255,
    ) -> None:
        if method not in _METHODS:
            raise ConfigError(
                f"GenerateEdgeMap: method must be 'canny' or 'labels', got {method!r}."
                f"{did_you_mean(str(method), _METHODS)}"
            )
        if edge_width < 1 or border < 0:
            raise ConfigError(
                "GenerateEdgeMap: edge_width must be at least 1 and border not negative, got "
                f"{edge_width} and {border}"
            )
        self.method = method
        self.edge_width = edge_width
        self.border = border
        self.ignore_index = ignore_index
        self._of_labels = GenerateEdge(edge_width=edge_width, ignore_index=ignore_index)

    def transform(self, results: dict) -> dict:
        """Add the map, (H, W) uint8, and name it among the fields that are scaled and cropped.

        Raises:
            DataError: A label does not fit into 8 bits, which Canny needs.
        """
        if self.method == "canny":
            results["gt_edge_map"] = self._canny(results)
        else:
            results = self._of_labels.transform(results)
        fields = results.setdefault("seg_fields", [])
        if "gt_edge_map" not in fields:
            fields.append("gt_edge_map")
        return results

    def _canny(self, results: dict) -> np.ndarray:
        labels = results["gt_seg_map"]
        if labels.dtype != np.uint8:
            if labels.size and (labels.min() < 0 or labels.max() > 255):
                raise DataError(
                    f"{results.get('seg_map_path', 'gt_seg_map')}: labels from {labels.min()} to "
                    f"{labels.max()} do not fit into the 8 bits that Canny reads; use "
                    "GenerateEdgeMap(method='labels')"
                )
            labels = labels.astype(np.uint8)
        edges = (cv2.Canny(np.ascontiguousarray(labels), _LOW, _HIGH) > 0).astype(np.uint8)
        if self.border:
            inner = np.zeros_like(edges)
            kept = (slice(self.border, -self.border),) * 2
            inner[kept] = edges[kept]
            edges = inner
        return cv2.dilate(edges, np.ones((self.edge_width, self.edge_width), np.uint8))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(method={self.method!r}, edge_width={self.edge_width}, "
            f"border={self.border}, ignore_index={self.ignore_index})"
        )
