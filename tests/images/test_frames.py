"""Promise: frames of a video come out as they went in, and what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmattn.errors import DataError
from mmattn.images.frames import VideoWriter, open_frames


def test_frames_are_read_as_they_were_written(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", (48, 64), 10)
    for value in (40, 120, 200):
        writer.write(np.full((48, 64, 3), (value, 20, 20), np.uint8))
    writer.close()
    with open_frames(str(tmp_path / "v.mp4")) as frames:
        assert frames.name == "v" and frames.fps == 10
        means = [frame.mean((0, 1)) for frame in frames]
    np.testing.assert_allclose(means, [[v, 20, 20] for v in (40, 120, 200)], atol=12)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such video"), (b"not a video", "cannot read it as a video; convert it.*ffmpeg")],
)
def test_a_video_that_cannot_be_read_is_named(content, said, tmp_path: Path) -> None:
    file = tmp_path / "v.mp4"
    if content:
        file.write_bytes(content)
    with pytest.raises(DataError, match=rf"v\.mp4: .*{said}"), open_frames(str(file)):
        pass


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="77: no such camera"), open_frames("77"):
        pass


def test_a_frame_is_bgr_in_opencv_and_rgb_here(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "v.mp4", (48, 64), 10)
    writer.write(np.full((48, 64, 3), (220, 20, 20), np.uint8))
    writer.close()
    capture = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    _, frame = capture.read()
    capture.release()
    assert frame[24, 32, 2] > 150 > frame[24, 32, 0]
