"""mmseg's IoU metric, with the values of every class kept instead of only printed."""

from __future__ import annotations

import numpy as np
from mmseg.evaluation import IoUMetric

from mmattn.registry import METRICS

from .class_table import ClassTable


@METRICS.register_module()
class ClasswiseIoUMetric(IoUMetric):
    """Drop-in for ``mmseg.IoUMetric``: same options, same results, and ``class_tables``.

    Pixels are summed in double precision: upstream's float32 sums stop counting single pixels
    beyond 2**24, which is eight pictures of Cityscapes.

    Attributes:
        class_tables: One table with a row for each class.
        areas: Of the last evaluation, (pictures, 4, classes): intersection, union, predicted and
            labelled pixels of every picture, in the data set's order.
    """

    class_tables: tuple[ClassTable, ...] = ()
    areas: np.ndarray | None = None

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Reduce the areas of all pictures.

        Args:
            results: Per picture (intersection, union, predicted, labelled), each of shape
                (num_classes,), in pixels.

        Returns:
            ``aAcc`` and the mean of each per-class value, in percent.
        """
        if self.format_only or not results:
            self.class_tables = ()
            return super().compute_metrics(results) if self.format_only else {}
        self.areas = np.stack([np.stack([np.asarray(a) for a in areas]) for areas in results])
        intersect, union, predicted, labelled = (
            sum(area.double() for area in areas) for areas in zip(*results, strict=True)
        )
        values = self.total_area_to_metrics(
            intersect, union, predicted, labelled, self.metrics, self.nan_to_num, self.beta
        )
        overall = values.pop("aAcc")
        metrics = {"aAcc": _percent(overall)}
        metrics |= {f"m{name}": _percent(np.nanmean(value)) for name, value in values.items()}

        names = tuple(self.dataset_meta["classes"])
        columns = tuple(values)
        per_class = np.stack([np.asarray(values[column]) for column in columns], axis=1) * 100
        self.class_tables = (
            ClassTable(
                title="segmentation, %",
                columns=columns,
                rows=dict(zip(names, per_class.tolist(), strict=True)),
                mean=[metrics[f"m{column}"] for column in columns],
                absent=frozenset(
                    name for name, area in zip(names, labelled.tolist(), strict=True) if not area
                ),
            ),
        )
        return metrics


def _percent(share: float) -> float:
    return float(np.round(float(share) * 100, 2))
