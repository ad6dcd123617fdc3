"""Promise: the shapes come as a video too, which pans over one scene and comes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmattn.data.shapes import write_shapes_video
from mmattn.errors import ConfigError


def read(path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1].astype(np.int16))
    return frames


def test_the_camera_pans_over_one_scene_and_comes_back(tmp_path) -> None:
    path = write_shapes_video(tmp_path / "new" / "pan.mp4", frames=9, size=(64, 96), seed=3)
    frames = read(path)
    assert len(frames) == 9 and frames[0].shape == (64, 96, 3)

    def difference(a: int, b: int) -> float:
        return float(np.abs(frames[a] - frames[b]).mean())

    assert difference(0, 8) < 5 < 10 < difference(0, 4)  # what the codec loses is less than motion


def test_no_frames_are_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="frames=0"):
        write_shapes_video(tmp_path / "pan.mp4", frames=0)
