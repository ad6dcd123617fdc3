"""Predict images and videos that belong to no dataset: boxes, or label maps painted over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmattn.errors import DataError

from .detect import DetectionOptions, detect_files
from .panoptic_files import segment_panoptic_files
from .prediction_files import check_outputs, write_class_names, write_label_map, write_overlay
from .predictor import Predictor
from .sources import find_sources
from .torch_predictors import check_task, load_torch_predictor
from .videos import write_video

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mmengine.config import Config

    from mmattn.reports.painter import Painter


def predict_images(
    cfg: Config,
    checkpoint: str | Path,
    images: Iterable[str | Path],
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    opacity: float = 0.5,
    legend: bool = True,
    detection: DetectionOptions | None = None,
    max_frames: int | None = None,
    fuse: bool = True,
    allow_partial: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Predict images with a model in torch; see ``predict_with`` for what is written.

    Args:
        cfg: Config of a detector or a segmentor; its test pipeline prepares the images.
        checkpoint: File of the model's weights.
        images: Files, folders, patterns, videos and indices of cameras.
        out: Folder of the results.
        device: Device of the model; a GPU if there is one.
        opacity: Opacity of the classes' colours, 0 to 1, for segmentation.
        legend: Whether the names of the classes in an image stand below it, for segmentation.
        detection: What is kept of detections; ``DetectionOptions()`` by default.
        max_frames: Largest number of frames of a video or camera; None for all.
        fuse: Run the fused model where the network has one (``mmattn.layers.fuse``).
        allow_partial: Accept a checkpoint that lacks weights which inference uses.
        log: Called with one line for each image.

    Returns:
        Files of the label maps, or of the images with boxes.

    Raises:
        ConfigError: The config has no test pipeline, or its results cannot be written.
        DataError: As of ``predict_with``.
        CheckpointError: The weights do not belong to the model.
    """
    check_task(cfg)
    images = list(images)
    find_sources(images)  # what is missing is named before the model is built
    predictor = load_torch_predictor(
        cfg, checkpoint, device=device, fuse=fuse, allow_partial=allow_partial
    )
    return predict_with(
        predictor,
        images,
        out,
        opacity=opacity,
        legend=legend,
        detection=detection,
        max_frames=max_frames,
        log=log,
    )


def predict_with(
    predictor: Predictor,
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    opacity: float = 0.5,
    legend: bool = True,
    detection: DetectionOptions | None = None,
    max_frames: int | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Predict images and videos with a model in torch or an exported file, and write the results.

    Args:
        predictor: Model or exported file.
        sources: Files, folders, patterns, videos and indices of cameras.
        out: Folder of the results, created if it does not exist. For segmentation it gets
            ``STEM.png``, the index of each pixel's class (16 bits for more than 256 classes),
            ``STEM_overlay.jpg``, for videos ``STEM_overlay.mp4`` alone, and ``classes.json``, the
            names by index; for detection what ``detect_files`` says, for panoptic segmentation
            what ``segment_panoptic_files`` says. Where images of several folders share a name, the
            results keep the sub-folders.
        opacity: Opacity of the classes' colours, 0 to 1, for segmentation.
        legend: Whether the names of the classes in an image stand below it, for segmentation.
        detection: What is kept of detections; ``DetectionOptions()`` by default.
        max_frames: Largest number of frames of a video or camera; None for all.
        log: Called with one line for each image.

    Returns:
        Files of the label maps, or of the images with boxes.

    Raises:
        DataError: An image is missing, two of one folder would have one name, or a result would
            take the place of an image; or, after all others were predicted, some images cannot be
            read.
    """
    if predictor.result == "boxes":
        options = detection or DetectionOptions()
        return detect_files(predictor, sources, out, options, max_frames=max_frames, log=log)
    if predictor.result == "segments":
        return segment_panoptic_files(predictor, sources, Path(out), max_frames=max_frames, log=log)
    return _segment_files(predictor, sources, Path(out), opacity, legend, max_frames, log)


def _segment_files(
    predictor: Predictor,
    sources: Iterable[str | Path],
    out: Path,
    opacity: float,
    legend: bool,
    max_frames: int | None,
    log: Callable[[str], None],
) -> list[Path]:
    import numpy as np

    from mmattn.reports.painter import Painter

    files, videos = find_sources(sources)
    paths = check_outputs(files, out)
    names = predictor.classes
    painter = Painter.of(names, predictor.palette, opacity)
    out.mkdir(parents=True, exist_ok=True)
    write_class_names(names, out)
    dtype = np.uint8 if len(names) <= 256 else np.uint16
    written, unread = [], []
    for file in files:
        try:
            labels, pixels = predictor.predict_file(file)
        except DataError as error:
            unread.append(str(error))
            log(str(error))
            continue
        written.append(write_label_map(labels.astype(dtype), paths[file], out))
        write_overlay(labels, pixels, painter, paths[file], out, legend=legend)
        log(f"{file}: {_shares(labels, names)}")
    for video in videos:
        paint = _painting(predictor, painter)
        written.append(write_video(video, out, "_overlay", paint, max_frames))
        log(f"{video}: painted in {written[-1]}")
    if unread:
        listed = "\n  ".join(unread)
        raise DataError(
            f"{len(unread)} of {len(files)} images cannot be read; {len(written)} label maps are "
            f"in {out}:\n  {listed}"
        )
    return written


def _painting(
    predictor: Predictor, painter: Painter
) -> Callable[[Iterator[np.ndarray], str], Iterator[np.ndarray]]:
    def paint(frames: Iterator[np.ndarray], name: str) -> Iterator[np.ndarray]:
        for pixels in frames:
            yield painter.paint(pixels, predictor(pixels))

    return paint


def _shares(labels: np.ndarray, names: Sequence[str]) -> str:
    import numpy as np

    counts = np.bincount(labels.reshape(-1), minlength=len(names))
    order = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    return ", ".join(f"{names[i]} {counts[i] / labels.size:.1%}" for i in order[:5])
