"""What a prediction is about: images, videos and cameras, told apart by their names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmattn.errors import DataError
from mmattn.images.frames import is_camera, is_video

from .images import find_images


def find_sources(sources: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Return the images and the videos among ``sources``.

    Args:
        sources: Image files, folders of images, patterns such as ``'photos/**/*.jpg'``, video files
            and indices of cameras, such as ``0``.

    Returns:
        Files of images, without repetition; video files and indices of cameras.

    Raises:
        DataError: A path does not exist, or no image is found in a folder or fits a pattern; or two
            videos would be written under one name.
    """
    videos = [str(source) for source in sources if is_video(str(source))]
    images = [source for source in sources if str(source) not in videos]
    stems: dict[str, str] = {}
    for video in videos:
        if not is_camera(video) and not Path(video).is_file():
            raise DataError(f"{video}: no such video")
        other = stems.setdefault(Path(video).stem, video)
        if other != video:
            raise DataError(
                f"{other} and {video} would both be written as one file: predict them into two "
                "folders"
            )
    return find_images(images), videos
