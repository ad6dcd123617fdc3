"""Detect in files, folders, videos and cameras, and write what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.detections import CocoFile, Detections, detect_in_tiles, draw_detections, write_crops
from mmattn.detections.tiles import check_tiling
from mmattn.errors import ConfigError, DataError

from .prediction_files import boxes_path, check_outputs, write_boxes
from .predictor import Predictor
from .sources import find_sources
from .videos import write_video

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class DetectionOptions:
    """What is kept of detections, and how large images are treated.

    Attributes:
        score_threshold: Smallest score of what is drawn, counted, cut out and written.
        save_crops: Whether each object is cut out and written as an image.
        tile: Height and width of overlapping tiles that an image is detected in; None for the image
            as a whole.
        overlap: Share of a tile that neighbours have in common.

    Raises:
        ConfigError: A value is out of range.
    """

    score_threshold: float = 0.3
    save_crops: bool = False
    tile: int | None = None
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.score_threshold <= 1:
            raise ConfigError(f"--score-threshold {self.score_threshold}: give 0 to 1")
        if self.tile is not None:
            check_tiling(self.tile, self.overlap)


def detect_files(
    predictor: Predictor,
    sources: Iterable[str | Path],
    out: str | Path,
    options: DetectionOptions,
    *,
    max_frames: int | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Detect in images and videos.

    Args:
        predictor: Detector; its results are ``Detections``.
        sources: Image files, folders, patterns, video files and indices of cameras.
        out: Folder for ``STEM_boxes.jpg`` or ``STEM_boxes.mp4``, for ``detections.json``
            (``CocoFile``) and, if asked for, ``crops/CLASS/STEM_NUMBER.jpg``.
        options: What is kept.
        max_frames: Largest number of frames of a video or camera.
        log: Called with one line for each image: its file and the counts by class.

    Returns:
        The files with drawn boxes.

    Raises:
        DataError: An image or a video is missing, two would have one name, or a result would take
            the place of an image; or, after all others were detected in, some cannot be read.
    """
    images, videos = find_sources(sources)
    out = Path(out)
    paths = check_outputs(images, out, (boxes_path,))
    out.mkdir(parents=True, exist_ok=True)
    if predictor.remark:
        log(predictor.remark)
    writer = _Writer(predictor.classes, predictor.palette, out, options)
    written: list[Path] = []
    unread: list[str] = []
    for file in images:
        try:
            found, pixels = _detect(predictor, file, options)
        except DataError as error:
            unread.append(str(error))
            log(str(error))
            continue
        kept = found.above(options.score_threshold)
        path = paths[file]
        stem = path.as_posix().replace("/", "_")
        drawn = writer.add(kept, pixels, name=f"{path.as_posix()}{file.suffix}", stem=stem)
        written.append(write_boxes(drawn, path, out))
        log(f"{file}: {_describe(kept, predictor.classes)}")
    for video in videos:
        written.append(_detect_video(predictor, video, writer, max_frames, log))
    writer.coco.write(out / "detections.json")
    counts = ", ".join(f"{name} {count}" for name, count in writer.counts.most_common())
    least = f"with scores from {options.score_threshold:g} on (--score-threshold)"
    log(f"{sum(writer.counts.values())} objects {least}{counts and ': '}{counts}")
    if unread:
        listed = "\n  ".join(unread)
        raise DataError(
            f"{len(unread)} of {len(images)} images cannot be read; the results of {len(written)} "
            f"are in {out}:\n  {listed}"
        )
    return written


class _Writer:
    """Collects, draws and cuts out what was found."""

    def __init__(
        self,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None,
        out: Path,
        options: DetectionOptions,
    ) -> None:
        self.classes, self.palette, self.out, self.options = classes, palette, out, options
        self.coco = CocoFile(classes)
        self.counts: Counter[str] = Counter()

    def add(self, found: Detections, pixels: np.ndarray, *, name: str, stem: str) -> np.ndarray:
        """Take the detections of an image and return it with them drawn."""
        self.coco.add(name, pixels.shape[:2], found)
        self.counts.update(found.counts(self.classes))
        if self.options.save_crops:
            write_crops(pixels, found, self.classes, self.out / "crops", stem)
        return draw_detections(pixels, found, self.classes, self.palette)


def _detect(
    predictor: Predictor, file: Path, options: DetectionOptions
) -> tuple[Detections, np.ndarray]:
    if options.tile is None:
        return predictor.predict_file(file)
    from mmattn.images import read_image

    pixels = read_image(file)
    return detect_pixels(predictor, pixels, options), pixels


def detect_pixels(
    predictor: Predictor, pixels: np.ndarray, options: DetectionOptions
) -> Detections:
    """Return the detections in (H, W, 3) uint8 RGB, found in tiles where ``options`` say so."""
    if options.tile is None:
        return predictor(pixels)

    def detect(window: np.ndarray) -> Detections:
        # Before the merging, which takes time for each pair of boxes at a seam.
        return predictor(window).above(options.score_threshold)

    return detect_in_tiles(detect, pixels, tile=options.tile, overlap=options.overlap)


def _detect_video(
    predictor: Predictor,
    source: str,
    writer: _Writer,
    max_frames: int | None,
    log: Callable[[str], None],
) -> Path:
    options = writer.options
    counts: Counter[str] = Counter()
    frames = 0

    def drawn(pictures: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
        nonlocal frames
        for pixels in pictures:
            found = detect_pixels(predictor, pixels, options).above(options.score_threshold)
            frames += 1
            stem = f"{name}_{frames:06d}"
            counts.update(found.counts(predictor.classes))
            yield writer.add(found, pixels, name=stem, stem=stem)

    path = write_video(source, writer.out, "_boxes", drawn, max_frames)
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    log(f"{source}: {frames} frames, {listed or 'nothing found'}")
    return path


def _describe(found: Detections, classes: Sequence[str]) -> str:
    listed = ", ".join(f"{name} {count}" for name, count in found.counts(classes).items())
    return listed or "nothing found"
