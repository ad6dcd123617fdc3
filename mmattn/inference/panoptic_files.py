"""Segment files, folders, videos and cameras panoptically, and write the segments."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.detections.panoptic_file import encode_map, list_categories, list_segments
from mmattn.errors import DataError

from .prediction_files import check_outputs, label_map_path, overlay_path, write_image
from .sources import find_sources
from .videos import write_video

if TYPE_CHECKING:
    import numpy as np

    from mmattn.detections.segment_map import SegmentMap


def segment_panoptic_files(
    predictor: Any,
    sources: Iterable[str | Path],
    out: Path,
    *,
    max_frames: int | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Segment images and videos.

    Args:
        predictor: Panoptic segmentor; its results are ``SegmentMap``.
        sources: Image files, folders, patterns, video files and indices of cameras.
        out: Folder for ``STEM.png``, the map in COCO's form (ids from 1 on as R + 256 G + 256^2 B,
            0 where there is no segment), ``STEM_overlay.jpg`` or ``STEM_overlay.mp4``, and
            ``panoptic.json``, which lists the segments of all images in COCO's form.
        max_frames: Largest number of frames of a video or camera.
        log: Called with one line for each image: its file and the segments by class.

    Returns:
        The maps, and the videos.

    Raises:
        DataError: An image or a video is missing, two would have one name, or a result would take
            the place of an image; or, after all others were segmented, some cannot be read.
    """
    from mmattn.reports.painter import Painter

    images, videos = find_sources(sources)
    paths = check_outputs(images, out)
    out.mkdir(parents=True, exist_ok=True)
    names, things = list(predictor.classes), list(predictor.things)
    numbers = list(range(len(names)))
    palette = Painter.of(names, predictor.palette).palette
    listed: dict[str, list] = {"images": [], "annotations": []}
    written, unread = [], []
    for file in images:
        try:
            segments, pixels = predictor.predict_file(file)
        except DataError as error:
            unread.append(str(error))
            log(str(error))
            continue
        name = paths[file]
        path = label_map_path(name, out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_map(segments))
        write_image(
            overlay_path(name, out), paint_panoptic(pixels, segments, palette, things)[..., ::-1]
        )
        height, width = segments.shape
        number = len(listed["images"]) + 1
        image = {"id": number, "file_name": f"{name.as_posix()}{file.suffix}"}
        listed["images"].append({**image, "height": height, "width": width})
        listed["annotations"].append(
            {
                "image_id": number,
                "file_name": path.relative_to(out).as_posix(),
                "segments_info": list_segments(segments, numbers, things),
            }
        )
        written.append(path)
        log(f"{file}: {_counts(segments, names)}")
    for video in videos:

        def paint(frames: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
            for frame in frames:
                yield paint_panoptic(frame, predictor(frame), palette, things)

        written.append(write_video(video, out, "_overlay", paint, max_frames))
        log(f"{video}: painted in {written[-1]}")
    content = {**listed, "categories": list_categories(names, numbers, things)}
    (out / "panoptic.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")
    if unread:
        lines = "\n  ".join(unread)
        raise DataError(
            f"{len(unread)} of {len(images)} images cannot be read; {len(written)} maps are in "
            f"{out}:\n  {lines}"
        )
    return written


def paint_panoptic(
    pixels: np.ndarray,
    segments: SegmentMap,
    palette: Sequence[Sequence[int]],
    things: Sequence[bool],
) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB with the segments painted over it."""
    from mmattn.reports.panoptic.segment_painter import paint_segments

    return paint_segments(pixels, segments, palette, things)


def _counts(segments: SegmentMap, names: Sequence[str]) -> str:
    found = Counter(names[label] for label in segments.labels.tolist())
    return ", ".join(f"{name} {count}" for name, count in found.most_common()) or "nothing"
