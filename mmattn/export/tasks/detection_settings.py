"""What a detection head does after its last layer, as its ``test_cfg`` says, or why it cannot be
exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmattn.errors import ExportError

#: Detections kept per image where the config sets no limit.
DEFAULT_MAX_PER_IMAGE = 300


@dataclass(frozen=True)
class TestSettings:
    """Selection of detections.

    Attributes:
        score_threshold: Class score that a candidate must exceed.
        iou_threshold: Overlap from which NMS suppresses, within a class.
        nms_pre: Candidates per pyramid level that go into NMS; -1 for all.
        max_per_image: Detections kept per image.
        min_box_size: Width and height that a box must exceed; None without such a limit.
        limit_added: Whether ``max_per_image`` is ours because the config has none.
    """

    __test__ = False  # pytest: no test class

    score_threshold: float
    iou_threshold: float
    nms_pre: int
    max_per_image: int
    min_box_size: float | None
    limit_added: bool

    @classmethod
    def of(cls, test_cfg: Mapping[str, Any] | None, head: str) -> TestSettings:
        """Read a head's ``test_cfg``.

        Args:
            test_cfg: ``head.test_cfg``.
            head: Name of the head, used in messages.

        Raises:
            ExportError: It asks for another suppression than plain NMS within classes.
        """
        cfg = dict(test_cfg or {})
        nms = dict(cfg.get("nms") or {})
        name = nms.pop("type", None)
        if name != "nms":
            raise ExportError(
                f"{head}: test_cfg.nms has type={name!r}, and ONNX's NonMaxSuppression is plain "
                "NMS. Export with model.test_cfg.nms.type=nms "
                "model.test_cfg.nms.iou_threshold=0.6, or without NMS: --form decoded"
            )
        nms.pop("split_thr", None)  # from how many boxes on mmcv goes class by class: same result
        if "iou_threshold" not in nms and "iou_thr" in nms:
            nms["iou_threshold"] = nms.pop("iou_thr")
        iou_threshold = nms.pop("iou_threshold", None)
        unknown = {key: value for key, value in nms.items() if value}
        if iou_threshold is None or unknown:
            said = f"{unknown}" if unknown else "no iou_threshold"
            raise ExportError(
                f"{head}: test_cfg.nms has {said}, which the exported NMS cannot follow; export "
                "without NMS: --form decoded"
            )
        limit = int(cfg.get("max_per_img") or -1)
        small = cfg.get("min_bbox_size", -1)
        return cls(
            score_threshold=float(cfg.get("score_thr") or 0.0),
            iou_threshold=float(iou_threshold),
            nms_pre=int(cfg.get("nms_pre") or -1),
            max_per_image=limit if limit > 0 else DEFAULT_MAX_PER_IMAGE,
            min_box_size=float(small) if small is not None and small >= 0 else None,
            limit_added=limit <= 0,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what a file's metadata say about the selection."""
        return {
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "nms_pre": self.nms_pre,
            "max_per_image": self.max_per_image,
            "limit_added": self.limit_added,
        }
