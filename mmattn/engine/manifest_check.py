"""Compare the files of a run's datasets with a manifest, before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmattn.data.manifest import compare_with_manifest

if TYPE_CHECKING:
    from mmattn.preflight.data import DatasetReport


class ManifestCheck:
    """The comparison that ``--manifest`` asks for: called with the reports of the datasets.

    Args:
        path: The manifest; None where none was given.
        hashes: Compare the SHA-256 of every file too, for which all of them are read.

    Attributes:
        told: What was found, one line; empty where nothing was compared.

    Raises:
        DataError: The manifest is not one, or files are missing, new or changed.
    """

    def __init__(self, path: str | None, *, hashes: bool = False) -> None:
        self.path, self.hashes = path, hashes
        self.told = ""

    def __call__(self, reports: Sequence[DatasetReport]) -> None:
        """Compare the files of the reports."""
        if self.path is None:
            return
        datasets = {report.where: (report.root, report.files) for report in reports}
        count = compare_with_manifest(self.path, datasets, hashes=self.hashes)
        what = "size and SHA-256" if self.hashes else "the size, not compared by SHA-256,"
        self.told = f"all {count} files have {what} that {self.path} says"
