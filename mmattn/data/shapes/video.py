"""A video of a scene of shapes, over which a camera pans."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mmattn.errors import ConfigError
from mmattn.images.frames import VideoWriter

from .scene import ShapesSceneGenerator


def write_shapes_video(
    path: str | os.PathLike[str],
    *,
    frames: int,
    size: tuple[int, int] = (192, 256),
    seed: int = 0,
    colour_hint: float = 0.8,
    fps: float = 12.0,
) -> Path:
    """Write a video whose camera pans once to the right and back over a scene twice as wide.

    Args:
        path: File to write, ``*.mp4``; its folder is created.
        frames: Number of frames, at least 1.
        size: Height and width of a frame, as of the images of a dataset.
        seed: Random seed; the scene is none of those of the dataset with this seed.
        colour_hint: Share of the shapes whose hue is near their class's own.
        fps: Frames a second.

    Returns:
        The file.

    Raises:
        ConfigError: No frames, or a size, seed or share that scenes cannot have.
        DataError: OpenCV cannot write the file.
    """
    if frames < 1:
        raise ConfigError(f"frames={frames}: a video has at least one")
    path = Path(path)
    height, width = size
    wide = ShapesSceneGenerator((height, 2 * width), seed, colour_hint=colour_hint)
    scene = wide.scene("video", 0).image
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = VideoWriter(path, (height, width), fps)
    try:
        for angle in np.linspace(0, 2 * np.pi, frames):
            left = round(width * (1 - float(np.cos(angle))) / 2)
            writer.write(scene[:, left : left + width])
    finally:
        writer.close()
    return path
