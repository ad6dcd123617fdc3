"""mmdet's metric of semantic segmentation on exact counts, with tables, plots and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmattn.errors import ConfigError
from mmattn.registry import METRICS

from .classwise_iou import ClasswiseIoUMetric


@METRICS.register_module()
class ClasswiseSemSegMetric(ClasswiseIoUMetric):
    """Drop-in for ``mmdet.SemSegMetric``: its options, and those of ``ClasswiseIoUMetric``.

    Results are upstream's but for ``aAcc``, which is the share of all labelled pixels that are
    right, as in mmseg; upstream averages the shares of the classes, which is ``mAcc``.

    Args:
        iou_metrics, beta, output_dir, format_only, collect_device, prefix: Options of
            ``mmdet.SemSegMetric``.
        backend_args: Has to be None: label maps are written to local files.
        **kwargs: Further options of ``ClasswiseIoUMetric``, such as ``bootstrap`` and ``worst``.

    Raises:
        ConfigError: An option has an invalid value.
    """

    def __init__(
        self,
        iou_metrics: Sequence[str] | str = ("mIoU",),
        beta: float = 1,
        collect_device: str = "cpu",
        output_dir: str | None = None,
        format_only: bool = False,
        backend_args: dict | None = None,
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        if backend_args is not None:
            raise ConfigError(
                f"ClasswiseSemSegMetric: backend_args={backend_args}: label maps are written to "
                "local files. Leave it out"
            )
        super().__init__(
            iou_metrics=iou_metrics,
            beta=beta,
            collect_device=collect_device,
            output_dir=output_dir,
            format_only=format_only,
            prefix=prefix,
            **kwargs,
        )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: Ignored.
            data_samples: Results of mmdet's models: ``pred_sem_seg`` and ``gt_sem_seg`` with
                ``sem_seg`` of shape (1, H, W).

        Raises:
            ConfigError: The model predicts no semantic map, or there is no ground truth.
            DataError: Prediction and ground truth have different sizes, or the label map of another
                image has the same name.
        """
        for sample in data_samples:
            predicted = sample.get("pred_sem_seg")
            if predicted is None:
                held = ", ".join(key for key in sample if key.startswith("pred_")) or "nothing"
                raise ConfigError(
                    f"ClasswiseSemSegMetric: the model predicts no semantic map, but {held}. Set "
                    "model.test_cfg.semantic_on=True if it has that option, or take the metric of "
                    "its own task"
                )
            if not self.format_only and "gt_sem_seg" not in sample:
                raise ConfigError(
                    "ClasswiseSemSegMetric: the samples have no ground truth (gt_sem_seg). Load it "
                    "in the test pipeline: dict(type='LoadAnnotations', with_bbox=False, "
                    "with_seg=True)"
                )
            # Models of mmdet say which label counts nowhere.
            self.ignore_index = int(predicted.get("ignore_index", self.ignore_index))
            super().process(data_batch, [_as_mmseg(sample)])


def _as_mmseg(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample with its maps under the names of mmseg."""
    maps = {
        key: {"data": sample[key]["sem_seg"]}
        for key in ("pred_sem_seg", "gt_sem_seg")
        if key in sample
    }
    return {**sample, **maps}
