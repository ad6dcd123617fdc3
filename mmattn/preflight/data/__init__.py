"""What is looked at in a dataset before the first training step.

``check_dataset`` runs all of it; each other module holds one kind of fault.
"""

from .dataset import DatasetReport, check_dataset, lazy_dataset, leaf_datasets

__all__ = ["DatasetReport", "check_dataset", "lazy_dataset", "leaf_datasets"]
