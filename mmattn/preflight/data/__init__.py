"""Checks of a dataset before the first training step.

``check_dataset`` runs all of them; each other module holds one group of faults.
"""

from .dataset import DatasetReport, check_dataset

__all__ = ["DatasetReport", "check_dataset"]
