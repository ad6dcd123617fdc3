"""The scores of all classes as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmattn.evaluation.class_table import ClassTable

_NOTE = (
    "A mean leaves '-' out. As in mmseg, a class that is absent in ground truth but predicted "
    "somewhere has IoU 0, which counts in the mean."
)


def score_table(
    title: str,
    scores: Mapping[str, np.ndarray],
    classes: Sequence[str],
    absent: frozenset[str],
) -> ClassTable:
    """Build a table in percent.

    Args:
        title: Head line.
        scores: Fractions by name: per class, of shape (K,), or their mean, under the name with an
            ``m`` before it (see ``scores.all_scores``).
        classes: Names of the K classes.
        absent: Names of the classes that no ground truth contains.
    """
    columns = tuple(name for name, value in scores.items() if np.ndim(value) == 1)
    per_class = np.stack([scores[name] for name in columns], axis=1) * 100
    return ClassTable(
        title=title,
        columns=tuple(name.replace("_", " ") for name in columns),
        rows=dict(zip(classes, per_class.tolist(), strict=True)),
        mean=[float(np.round(float(scores[f"m{name}"]) * 100, 2)) for name in columns],
        absent=absent,
        note=_NOTE if absent else "",
    )
