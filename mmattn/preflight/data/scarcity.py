"""What a split has too little of: images to validate on, and pixels of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmattn.boxes import Finding

if TYPE_CHECKING:
    from .dataset import DatasetReport

#: A validation of fewer images, and of a smaller share of all images, says little.
_FEW, _SMALL_SHARE = 10, 0.1
_NAMED = 5


def few_images(train: int, val: int) -> Finding | None:
    """Return that validation has very few images beside those of training.

    A draw by names gives each image its own chance, so that of 20 images none, one or eight may be
    drawn where four were expected.

    Args:
        train: Images of training.
        val: Images of validation.
    """
    if not train or val >= _FEW or val >= _SMALL_SHARE * (train + val):
        return None
    return Finding(
        "few-images-to-validate",
        f"only {val} of {train + val} images {'is' if val == 1 else 'are'} for validation, whose "
        "results will say little. Put more of them there; where they are drawn by their names, "
        "another data.split_seed draws others, and data.val_fraction more",
    )


def classes_without_pixels(report: DatasetReport, split: str) -> Finding | None:
    """Return which classes no mask of a split has, if all of its masks were looked at.

    Args:
        report: What was found in a dataset.
        split: Split that it belongs to, ``train``, ``val`` or ``test``.
    """
    if report.unit != "pixels" or report.looked_at.get("masks", 0) < report.entries:
        return None
    empty = [repr(name) for name, count in report.counts.items() if not count]
    if not empty:
        return None
    more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
    result = "cannot be learnt" if split == "train" else "cannot be measured"
    return Finding(
        "class-without-pixel",
        f"no mask has a pixel of {', '.join(empty[:_NAMED])}{more}: "
        f"{'it' if len(empty) == 1 else 'they'} {result} here",
    )
