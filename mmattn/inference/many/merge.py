"""One file of the results of all shards, written line by line: memory does not grow with them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mmattn.detections.panoptic_file import list_categories
from mmattn.errors import DataError
from mmattn.io import atomic_write

from .journal import finished_path, list_parts, read_lines, read_settings, shard_of

#: Kind of results -> name of the file in COCO's form.
COCO_NAMES = {"boxes": "detections.json", "segments": "panoptic.json"}
JSONL_NAME = "results.jsonl"


@dataclass(frozen=True)
class Merged:
    """Files and counts that ``merge_parts`` wrote.

    Attributes:
        path: The file.
        images: Number of images in it.
        broken: Number of images that could not be read.
        first_broken: Reason of the first of them; else empty.
        complete: Whether all shards are finished.
    """

    path: Path
    images: int
    broken: int
    first_broken: str
    complete: bool


def all_finished(out: Path) -> bool:
    """Return whether all shards of some number of shards are finished."""
    finished = [shard_of(part) for part in list_parts(out) if finished_path(part).exists()]
    counts = Counter(shard.count for shard in finished)
    return any(found == count for count, found in counts.items())


def merge_parts(out: Path) -> Merged:
    """Write the results of all shards as one file.

    Args:
        out: Folder of the results.

    Raises:
        DataError: There are no results.
        OSError: The file cannot be written.
    """
    settings = read_settings(out)
    parts = list_parts(out)
    if not parts:
        raise DataError(f"{out} holds no results to merge")
    counted = _Counted(parts)
    if settings["format"] == "jsonl":
        path = out / JSONL_NAME
        with atomic_write(path) as file:
            for record in counted.all_records():
                file.write(json.dumps(record).encode() + b"\n")
    else:
        path = out / COCO_NAMES[settings["result"]]
        with atomic_write(path) as file:
            _write_coco(file, settings, counted)
    done = all_finished(out)
    return Merged(path, counted.images, counted.broken, counted.first_broken, done)


class _Counted:
    """The records of all parts, read as often as needed."""

    def __init__(self, parts: list[Path]) -> None:
        self.parts = parts
        self.images = self.broken = 0
        self.first_broken = ""

    def all_records(self) -> Iterator[dict[str, Any]]:
        """Yield all records, and count them."""
        self.images = self.broken = 0
        for part in self.parts:
            for record in read_lines(part):
                if "error" in record:
                    self.broken += 1
                    self.first_broken = self.first_broken or record["error"]
                else:
                    self.images += 1
                yield record

    def predicted(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the records of images that could be read, with their ids, from 1 on."""
        readable = (record for record in self.all_records() if "error" not in record)
        yield from enumerate(readable, 1)


def _write_coco(file: IO[bytes], settings: dict[str, Any], counted: _Counted) -> None:
    """Write the three lists of a file in COCO's form, one entry a line."""
    names = settings["classes"]
    if settings["result"] == "boxes":
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
        annotations = _boxes
    else:
        categories = list_categories(names, range(len(names)), settings["things"])
        annotations = _segments
    _write_list(file, b'{"images": [', counted, _images)
    _write_list(file, b'], "annotations": [', counted, annotations)
    file.write(b'], "categories": ' + json.dumps(categories).encode() + b"}\n")


def _write_list(
    file: IO[bytes],
    head: bytes,
    counted: _Counted,
    entries: Callable[[Iterator[tuple[int, dict[str, Any]]]], Iterator[dict[str, Any]]],
) -> None:
    file.write(head)
    between = b"\n"
    for entry in entries(counted.predicted()):
        file.write(between + json.dumps(entry).encode())
        between = b",\n"


def _images(records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for number, record in records:
        size = {"height": record["height"], "width": record["width"]}
        yield {"id": number, "file_name": record["file"], **size}


def _boxes(records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    count = 0
    for number, record in records:
        for found in record["detections"]:
            count += 1
            area = round(found["bbox"][2] * found["bbox"][3], 3)
            yield {"id": count, "image_id": number, **found, "area": area, "iscrowd": 0}


def _segments(records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    for number, record in records:
        yield {
            "image_id": number,
            "file_name": record["map"],
            "segments_info": record["segments_info"],
        }
