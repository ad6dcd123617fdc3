"""Masks as the usual ``LoadAnnotations`` and ``LoadPanopticAnnotations`` decode them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mmattn.errors import DataError, MMAttnError, one_line
from mmattn.images.header import open_image, read_header


def stock_reader(
    loader: Mapping[str, Any], dataset: Any, where: str
) -> Callable[[str], np.ndarray]:
    """Return the function that decodes masks as the loader of a pipeline does.

    Args:
        loader: Config of ``LoadAnnotations`` or ``LoadPanopticAnnotations``.
        dataset: Dataset that the pipeline belongs to.
        where: Config key of the dataset, used in messages.

    Returns:
        Function from a path to the pixels, (H, W) or (H, W, C) with red first; it raises a
        DataError for a file that cannot be read, or that the loader reads otherwise than images.
    """
    from mmcv import imfrombytes

    backend = loader.get("imdecode_backend") or _usual_backend(loader.get("type"), dataset)

    def read(path: str) -> np.ndarray:
        try:
            header = read_header(path, f"the mask {path}")
            with open_image(path) as image:  # OpenCV does not tell what is wrong with a file
                image.load()
            with open(path, "rb") as file:
                pixels = imfrombytes(file.read(), flag="unchanged", backend=backend)
            if pixels is None:
                raise ValueError(f"{backend} cannot decode it")
        except MMAttnError as error:
            raise type(error)(f"{where}: {error}") from error
        except Exception as error:
            size = os.path.getsize(path)
            state = "is empty" if size == 0 else f"cannot be decoded ({_reason(error)})"
            raise DataError(
                f"{where}: the mask {path} {state}. Fetch or export it again, or take it out of "
                "the data"
            ) from error
        if header.orientation != 1:
            raise DataError(
                f"{where}: the mask {path} has the EXIF orientation {header.orientation}, by which "
                "images are turned when they are loaded but masks are not. Save the mask turned, "
                "without this entry"
            )
        if header.pages > 1:
            raise DataError(
                f"{where}: the mask {path} has {header.pages} pages or frames, and a mask is one. "
                "Save the one that belongs to the image as a PNG"
            )
        if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
            pixels[..., :3] = pixels[..., 2::-1].copy()
        return pixels

    return read


def _usual_backend(loader: Any, dataset: Any) -> str:
    """Return the decoder that a loader uses by default: Pillow in mmseg's, OpenCV in mmdet's."""
    from mmengine.registry import TRANSFORMS, DefaultScope

    cls = loader
    if isinstance(loader, str):
        scope = None
        if DefaultScope.get_current_instance() is None:
            bases = {base.__module__.partition(".")[0] for base in type(dataset).__mro__}
            scope = "mmdet" if "mmdet" in bases else "mmseg"
        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            cls = registry.get(loader)
    for base in getattr(cls, "__mro__", ()):
        parameter = inspect.signature(base).parameters.get("imdecode_backend")
        if parameter is not None and isinstance(parameter.default, str):
            return parameter.default
    return "pillow"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, (OSError, SyntaxError)) and text else one_line(error)
