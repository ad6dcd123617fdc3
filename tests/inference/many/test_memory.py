"""Promise: memory does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import json, os, resource, sys
from pathlib import Path
import numpy as np
from mmattn.inference.predictor import LoadedImage
from mmattn.inference.many import ManyOptions, ManySources, merge_parts, predict_many
from tests.support.many_images import FakeDetector

def megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6

class Traced(FakeDetector):
    count = 0
    seen = []

    def load_file(self, file):
        pixels = np.full((64, 64, 3), 7, np.uint8)  # 12 kB each: 24 MB of 2000
        return LoadedImage(file.name, pixels, pixels.shape)

    def predict_loaded(self, images):
        self.count += len(images)
        if self.count % EVERY < len(images):
            self.seen.append(megabytes())
        return super().predict_loaded(images)

images, out, EVERY = sys.argv[1], sys.argv[2], int(sys.argv[3])
detector = Traced()
predict_many(detector, ManySources([images], recursive=True), out, ManyOptions(batch=4))
before = megabytes()
merge_parts(Path(out))
print(json.dumps({"count": detector.count, "seen": detector.seen, "merge": megabytes() - before}))
"""


def grown(folder: Path, out: Path, every: int) -> tuple[int, float, float]:
    """Predict a folder with a fake predictor in a process of its own.

    Returns:
        Number of images; megabytes by which the process grew between the first tenth of the
        images and the end; megabytes by which it grew while the results were merged.
    """
    import json

    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(folder), str(out), str(every)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    seen = told["seen"]
    return told["count"], seen[-1] - seen[len(seen) // 10], told["merge"]


def folders(root: Path, count: int, each: int) -> Path:
    for index in range(count):
        (root / f"{index:04d}").mkdir(parents=True)
        for number in range(each):
            (root / f"{index:04d}/{number:06d}.png").write_bytes(b"")
    return root


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells pages of memory")
def test_memory_does_not_grow_over_two_thousand_images(tmp_path: Path) -> None:
    count, run, merge = grown(folders(tmp_path / "in", 4, 500), tmp_path / "out", 100)
    assert count == 2000
    assert run < 2 and merge < 2


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells pages of memory")
def test_memory_does_not_grow_over_fifty_thousand_images(tmp_path: Path) -> None:
    count, run, merge = grown(folders(tmp_path / "in", 10, 5000), tmp_path / "out", 1000)
    assert count == 50_000
    assert run < 4 and merge < 4
