"""A predictor for tests of a great many images: it answers at once, and its process may be killed.

    python -m tests.support.many_images IMAGES OUT I/N PROCESSES [SECONDS]

predicts the images with it, SECONDS for each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmattn.detections import Detections
from mmattn.errors import DataError
from mmattn.inference.predictor import LoadedImage


@dataclass
class FakeDetector:
    """Finds one box, of which the score tells the name of the file; reads no pixels.

    Files that hold ``broken`` cannot be read.
    """

    seconds: float = 0.0
    result: Literal["boxes"] = "boxes"
    classes: Sequence[str] = ("cat", "dog")
    palette: None = None
    remark: str = ""

    def load_file(self, file: Path) -> LoadedImage:
        if file.read_bytes() == b"broken":
            raise DataError(f"{file} cannot be read: it is broken")
        return LoadedImage(file.name, np.zeros((4, 6, 3), np.uint8), (4, 6))

    def predict_loaded(self, images: Sequence[LoadedImage]) -> list[Any]:
        time.sleep(self.seconds * len(images))
        return [Detections.of([[0, 1, 4, 3]], [score_of(i.prepared)], [0]) for i in images]

    def __call__(self, image: np.ndarray) -> Any:
        raise NotImplementedError

    def predict_file(self, file: Path) -> Any:
        raise NotImplementedError


def score_of(name: str) -> float:
    """A score above 0.5 that tells a file's name from others."""
    return 0.5 + (sum(name.encode()) % 97) / 200


def names_in(out: Path) -> list[str]:
    """The names of the images in all lines of all parts, sorted."""
    parts = (out / "parts").glob("*.jsonl")
    lines = [line for part in parts for line in part.read_text("utf-8").splitlines()]
    return sorted(json.loads(line)["file"] for line in lines)


@dataclass(frozen=True)
class Load:
    """The fake detector for a process."""

    seconds: float = 0.0

    def __call__(self, number: int) -> tuple[FakeDetector, str]:
        return FakeDetector(self.seconds), "fake"


def main() -> None:
    """Predict as the command line says."""
    from mmattn.inference.many import (
        ManyOptions,
        ManySources,
        predict_in_processes,
        predict_many,
        read_shard,
    )

    images, out, shard, processes, *seconds = sys.argv[1:]
    load = Load(float(seconds[0]) if seconds else 0.0)
    options = ManyOptions(format="jsonl")
    if int(processes) > 1:
        predict_in_processes(
            load, [images], out, options, processes=int(processes), shard=read_shard(shard)
        )
    else:
        predict_many(
            load(0)[0], ManySources([images]), out, options, shard=read_shard(shard), model="fake"
        )


if __name__ == "__main__":
    main()
