"""Checks of a dataset before the first training step.

``check_dataset`` runs all of them; each other module holds one group of faults.
"""

from .box_sizes import below_stride, smallest_stride
from .dataset import DatasetReport, check_dataset
from .overlap import shared_images
from .scarcity import classes_without_pixels, few_images

__all__ = [
    "DatasetReport",
    "below_stride",
    "check_dataset",
    "classes_without_pixels",
    "few_images",
    "shared_images",
    "smallest_stride",
]
