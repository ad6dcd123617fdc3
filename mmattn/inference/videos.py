"""Read a video, let its frames be painted, and write them as a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import DataError
from mmattn.images.frames import VideoWriter, is_camera, open_frames

if TYPE_CHECKING:
    import numpy as np

#: Function from the frames of a video and its name to the painted frames.
Paint = Callable[["Iterator[np.ndarray]", str], "Iterator[np.ndarray]"]


def write_video(source: str, out: Path, ending: str, paint: Paint, max_frames: int | None) -> Path:
    """Write the painted frames of a video as ``STEM + ENDING.mp4``.

    Ctrl-C ends the reading of a camera; what was read until then is written.

    Args:
        source: Video file, or index of a camera.
        out: Folder of the video.
        ending: End of the file's name, before ``.mp4``.
        paint: Function that paints the frames.
        max_frames: Largest number of frames; None for all.

    Returns:
        The file.

    Raises:
        DataError: The video cannot be read, or the result would take its place.
    """
    with open_frames(source) as frames:
        path = out / f"{frames.name}{ending}.mp4"
        if path.resolve() == Path(source).resolve():
            raise DataError(f"{source}: the result would be written over it. Give another folder.")
        painted = paint(islice(iter(frames), max_frames), frames.name)
        first = next(painted)
        writer = VideoWriter(path, first.shape[:2], frames.fps)
        try:
            for frame in chain([first], painted):
                writer.write(frame)
        except KeyboardInterrupt:
            if not is_camera(source):  # which has no other end
                raise
        finally:
            writer.close()
    return path
