"""Write predictions: label maps as class indices and painted over their images; drawn boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from mmattn.reports.painter import Painter


def label_map_path(image: Path, out: Path) -> Path:
    """Return the file for the label map of ``image``."""
    return out / f"{image.stem}.png"


def overlay_path(image: Path, out: Path) -> Path:
    """Return the file for ``image`` with its classes painted over it."""
    return out / f"{image.stem}_overlay.jpg"


def boxes_path(image: Path, out: Path) -> Path:
    """Return the file for ``image`` with its detections drawn over it."""
    return out / f"{image.stem}_boxes.jpg"


def check_outputs(
    images: Sequence[Path],
    out: Path,
    outputs: Sequence[Callable[[Path, Path], Path]] = (label_map_path, overlay_path),
) -> None:
    """Refuse outputs that would replace an image or another image's outputs, or lie among images.

    Args:
        images: Files of the images.
        out: Folder of the outputs.
        outputs: Functions from an image and ``out`` to a file that is written.

    Raises:
        DataError: ``out`` is the folder of an image, two images have one stem, or an output is the
            file of an image.
    """
    if any(out.resolve() == image.parent.resolve() for image in images):
        raise DataError(
            f"--out {out} is a folder of the images: results there would be taken for images. "
            "Give another folder."
        )
    by_stem: dict[str, Path] = {}
    for image in images:
        other = by_stem.setdefault(image.stem, image)
        if other != image:
            raise DataError(
                f"{other} and {image} would both be written as {outputs[0](image, out).name}: "
                "predict them into two folders"
            )
    taken = {image.resolve() for image in images}
    for image in images:
        for output in (path(image, out) for path in outputs):
            if output.resolve() in taken:
                raise DataError(
                    f"{out}: the result of {image} would be written over {output}. Give another "
                    "folder as out."
                )
            taken.add(output.resolve())


def write_class_names(names: Sequence[str], out: Path) -> None:
    """Write ``classes.json``, the names of the classes by index."""
    text = json.dumps(list(names), ensure_ascii=False)
    (out / "classes.json").write_text(text + "\n", "utf-8")


def write_label_map(labels: np.ndarray, image: Path, out: Path) -> Path:
    """Write labels (H, W) uint8 or uint16 of ``image`` as PNG and return the file."""
    path = label_map_path(image, out)
    _write(path, labels)
    return path


def write_overlay(
    labels: np.ndarray, pixels: np.ndarray, painter: Painter, image: Path, out: Path
) -> Path:
    """Paint the classes over an image, write it as JPEG and return the file.

    Args:
        labels: (H, W), index of the class of each pixel.
        pixels: (H, W, 3) uint8 RGB, the image.
        painter: Painter of the classes.
        image: File of the image, which gives the overlay its name.
        out: Folder of the outputs.
    """
    path = overlay_path(image, out)
    _write(path, painter.paint(pixels, labels)[..., ::-1])
    return path


def write_boxes(drawn: np.ndarray, image: Path, out: Path) -> Path:
    """Write an image with its detections, (H, W, 3) uint8 RGB, as JPEG and return the file."""
    path = boxes_path(image, out)
    _write(path, drawn[..., ::-1])
    return path


def _write(path: Path, pixels: Any) -> None:
    import cv2
    import numpy as np

    done, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(pixels))
    if not done:
        raise DataError(f"{path}: OpenCV could not encode an image of shape {pixels.shape}")
    path.write_bytes(encoded.tobytes())
