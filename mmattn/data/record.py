"""``dataset.json``: where a prepared dataset comes from, what is in it, which terms were accepted.

``mmattn data prepare`` writes it last, so that a folder with it is complete. Checks before a
training and the records of a comparison read it and name it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmattn.errors import DataError
from mmattn.io.plain_data import parse_json, read_text

#: Name of the file in a dataset's folder.
RECORD = "dataset.json"
_FORMAT, _VERSION = "mmattn.dataset", 1


@dataclass(frozen=True)
class DatasetRecord:
    """The record that ``mmattn data prepare`` wrote about a dataset.

    Attributes:
        name: Name of the dataset, such as ``coco2017``.
        title: Its name in prose.
        date: Day and time of the preparation, ISO 8601 in UTC.
        version: Version of mmattn.
        sources: Each file that it was made of: ``file``, ``from``, ``size``, ``sha256`` and
            ``verified``, the published digest that it was compared with, None where none is known.
        splits: Split -> counts, such as ``images`` and ``labels``.
        classes: Number of classes.
        subset: Part of the dataset that was asked for, such as ``1%``; None for all of it.
        terms: ``text``, ``url``, ``accepted`` (date) and ``how``.
        content: ``files``, ``bytes`` and ``sha256`` of the sorted names and sizes of all files.
    """

    name: str
    title: str
    date: str
    version: str
    classes: int
    sources: tuple[Mapping[str, Any], ...] = ()
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    subset: str | None = None
    terms: Mapping[str, Any] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return in one line what the folder holds."""
        part = f", subset {self.subset}" if self.subset else ""
        images = ", ".join(f"{name} {counts['images']}" for name, counts in self.splits.items())
        return f"{self.title}{part}, prepared {self.date[:10]} ({images} images)"

    def summary(self) -> dict[str, Any]:
        """Return name, part, day and content, for manifests and the records of runs."""
        return {
            "name": self.name,
            "subset": self.subset,
            "date": self.date,
            "content": self.content.get("sha256"),
        }


def write_record(root: str | os.PathLike[str], record: DatasetRecord) -> None:
    """Write ``dataset.json`` into a folder; it appears when it is complete.

    Raises:
        DataError: It cannot be written.
    """
    from mmattn.io import atomic_write

    path = os.path.join(root, RECORD)
    content = {"format": _FORMAT, "format_version": _VERSION, **asdict(record)}
    try:
        with atomic_write(path, "w") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
            file.write("\n")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def read_record(root: str | os.PathLike[str]) -> DatasetRecord | None:
    """Read ``dataset.json`` of a folder.

    Returns:
        The record; None where there is none, or a file of that name by somebody else.

    Raises:
        DataError: It is cut off, or of another version.
    """
    path = os.path.join(root, RECORD)
    if not os.path.isfile(path):
        return None
    content = parse_json(read_text(path), path)
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return None
    if content.get("format_version") != _VERSION:
        raise DataError(
            f"{path} is of version {content.get('format_version')!r}; this mmattn reads version "
            f"{_VERSION}. Prepare the dataset again, or use the mmattn {content.get('version')} "
            "that wrote it"
        )
    try:
        fields = {name: content[name] for name in DatasetRecord.__dataclass_fields__}
        fields["sources"] = tuple(fields["sources"])
        record = DatasetRecord(**fields)
        record.sentence()
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {error}): prepare the dataset again"
        ) from error
    return record
