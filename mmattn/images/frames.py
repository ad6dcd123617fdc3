"""Frames of a video file or a camera, read with OpenCV, and videos written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mmattn.errors import DataError

#: Endings, in lower case, of files that are taken for videos.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")


def is_video(name: str) -> bool:
    """Return whether ``name`` is that of a video file, or the index of a camera.

    >>> is_video("street.MP4"), is_video("0"), is_video("street.jpg")
    (True, True, False)
    """
    return is_camera(name) or name.lower().endswith(VIDEO_SUFFIXES)


def is_camera(name: str) -> bool:
    """Return whether ``name`` is the index of a camera: digits alone, and no such file."""
    return name.isdecimal() and not Path(name).exists()


class FrameReader:
    """An opened video; iterating yields (H, W, 3) uint8 RGB frames.

    Args:
        source: Video file, or index of a camera.

    Attributes:
        name: Name for messages and files.
        fps: Frames a second; 25 where the source does not say.

    Raises:
        DataError: The file does not exist, or OpenCV cannot read it or reach the camera.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        if is_camera(source):
            self.name = f"camera{int(source)}"
            opened: str | int = int(source)
            reason = "no such camera, or another program uses it; give another index or a file"
        else:
            self.name = Path(source).stem
            opened = source
            reason = (
                "OpenCV cannot read it as a video; convert it, for instance with "
                f"`ffmpeg -i {source} -c:v libx264 {Path(source).stem}.mp4`"
            )
            if not Path(source).is_file():
                raise DataError(f"{source}: no such video")
        self._capture = cv2.VideoCapture(opened)
        readable, self._first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not readable:
            self._capture.release()
            raise DataError(f"{source}: {reason}")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = float(fps) if 1 <= fps <= 240 else 25.0

    def __iter__(self) -> Iterator[np.ndarray]:
        frame, readable = self._first, True
        while readable and frame is not None:
            yield np.ascontiguousarray(frame[..., ::-1])
            readable, frame = self._capture.read()

    def close(self) -> None:
        """Give the file or the camera free."""
        self._capture.release()


@contextmanager
def open_frames(source: str) -> Iterator[FrameReader]:
    """Open a video file or a camera for a ``with`` block; see ``FrameReader``."""
    reader = FrameReader(source)
    try:
        yield reader
    finally:
        reader.close()


class VideoWriter:
    """A video that is written frame by frame, MPEG-4 in ``*.mp4``.

    Args:
        path: File to write.
        size: Height and width of the frames.
        fps: Frames a second.

    Raises:
        DataError: OpenCV cannot write such a file here.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: float) -> None:
        self.path = path
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), code, fps, size[::-1])
        if not self._writer.isOpened():
            raise DataError(f"{path}: OpenCV cannot write a video here; is the folder writable?")

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, (H, W, 3) uint8 RGB."""
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()
