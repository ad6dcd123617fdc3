"""Write predictions: label maps as class indices and painted over their images; drawn boxes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from mmattn.reports.painter import Painter


def output_names(images: Sequence[Path]) -> dict[Path, Path]:
    """Return each image -> the path, without ending, of its results inside the folder of results.

    It is the name of the image. Where two images share a name, all keep the sub-folders that they
    have below the nearest folder of all.

    >>> output_names([Path("a/x.png"), Path("a/b/y.png")])
    {PosixPath('a/x.png'): PosixPath('x'), PosixPath('a/b/y.png'): PosixPath('y')}
    >>> output_names([Path("a/x.png"), Path("a/b/x.png")])
    {PosixPath('a/x.png'): PosixPath('x'), PosixPath('a/b/x.png'): PosixPath('b/x')}
    """
    if len({image.stem for image in images}) == len(images):
        return {image: Path(image.stem) for image in images}
    above = os.path.commonpath([os.path.abspath(image.parent) for image in images])
    return {
        image: Path(os.path.relpath(os.path.abspath(image.parent), above)) / image.stem
        for image in images
    }


def label_map_path(name: Path, out: Path) -> Path:
    """Return the file for the label map of an image of this name."""
    return out / name.parent / f"{name.name}.png"


def overlay_path(name: Path, out: Path) -> Path:
    """Return the file for an image of this name with its classes painted over it."""
    return out / name.parent / f"{name.name}_overlay.jpg"


def boxes_path(name: Path, out: Path) -> Path:
    """Return the file for an image of this name with its detections drawn over it."""
    return out / name.parent / f"{name.name}_boxes.jpg"


def check_outputs(
    images: Sequence[Path],
    out: Path,
    outputs: Sequence[Callable[[Path, Path], Path]] = (label_map_path, overlay_path),
) -> dict[Path, Path]:
    """Refuse outputs that would replace an image or another image's outputs, or lie among images.

    Args:
        images: Files of the images.
        out: Folder of the outputs.
        outputs: Functions from the name of an image and ``out`` to a file that is written.

    Returns:
        The name of each image's outputs; see ``output_names``.

    Raises:
        DataError: ``out`` is the folder of an image, two images of one folder have one stem, or an
            output is the file of an image.
    """
    if any(out.resolve() == image.parent.resolve() for image in images):
        raise DataError(
            f"--out {out} is a folder of the images: results there would be taken for images. "
            "Give another folder."
        )
    names = output_names(images)
    by_name: dict[Path, Path] = {}
    for image, name in names.items():
        other = by_name.setdefault(name, image)
        if other != image:
            raise DataError(
                f"{other} and {image} would both be written as {outputs[0](name, out)}: "
                "predict them into two folders"
            )
    taken = {image.resolve() for image in images}
    for image, name in names.items():
        for output in (path(name, out) for path in outputs):
            if output.resolve() in taken:
                raise DataError(
                    f"{out}: the result of {image} would be written over {output}. Give another "
                    "folder as out."
                )
            taken.add(output.resolve())
    return names


def write_class_names(names: Sequence[str], out: Path) -> None:
    """Write ``classes.json``, the names of the classes by index."""
    text = json.dumps(list(names), ensure_ascii=False)
    (out / "classes.json").write_text(text + "\n", "utf-8")


def write_label_map(labels: np.ndarray, name: Path, out: Path) -> Path:
    """Write labels (H, W) uint8 or uint16 of an image as PNG and return the file."""
    path = label_map_path(name, out)
    write_image(path, labels)
    return path


def write_overlay(
    labels: np.ndarray,
    pixels: np.ndarray,
    painter: Painter,
    name: Path,
    out: Path,
    *,
    legend: bool = True,
) -> Path:
    """Paint the classes over an image, write it as JPEG and return the file.

    Args:
        labels: (H, W), index of the class of each pixel.
        pixels: (H, W, 3) uint8 RGB, the image.
        painter: Painter of the classes.
        name: Name of the image's outputs; see ``output_names``.
        out: Folder of the outputs.
        legend: Whether the names of the classes in the image stand in a strip below it.
    """
    from mmattn.reports.legend import with_legend

    path = overlay_path(name, out)
    painted = painter.paint(pixels, labels)
    if legend:
        painted = with_legend(painted, painter.legend_of(labels))
    write_image(path, painted[..., ::-1])
    return path


def write_boxes(drawn: np.ndarray, name: Path, out: Path) -> Path:
    """Write an image with its detections, (H, W, 3) uint8 RGB, as JPEG and return the file."""
    path = boxes_path(name, out)
    write_image(path, drawn[..., ::-1])
    return path


def write_image(path: Path, pixels: Any) -> None:
    """Write pixels, (H, W) or (H, W, 3) uint8 or uint16 BGR, as the ending of ``path`` says."""
    import cv2
    import numpy as np

    done, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(pixels))
    if not done:
        raise DataError(f"{path}: OpenCV could not encode an image of shape {pixels.shape}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())
