"""Images as the pipeline's own loader makes them: read, of the right size, and nothing lost."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from mmattn.data.transforms.load_image import LoadImageFromFile
from mmattn.errors import ConfigError, DataError, MMAttnError, one_line
from mmattn.images import evenly
from mmattn.images.header import SWAPPED, ImageHeader, open_image, read_header
from mmattn.images.reader import bits_in_use, turned_example

from .faults import FaultyFiles

#: How the bytes of a whole file end; a file that ends otherwise is decoded to be sure.
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xae\x42\x60\x82"}
#: Largest number of unusual images that are loaded beside the sample.
_UNUSUAL = 64
#: An image of more bits whose brightest value is below this after loading is nearly black.
_DARK = 128


@dataclass
class ImageFindings:
    """Findings in the images of a dataset.

    Attributes:
        headers: Number of images whose header was read.
        loaded: Number of images that were loaded.
        notes: What the loader leaves out, in short sentences.
        thin: Indices of the smallest and of the most elongated images.
    """

    headers: int = 0
    loaded: int = 0
    notes: tuple[str, ...] = ()
    thin: list[int] = field(default_factory=list)


class ImageLoader:
    """The ``LoadImageFromFile`` of a pipeline.

    Args:
        cfg: Config of the transform.
        bit_depth: Bits in use of images that have more than 8, as the dataset states them.
        where: Config key of the dataset, used in messages.

    Raises:
        ConfigError: The transform cannot be built.
    """

    def __init__(self, cfg: Mapping[str, Any], bit_depth: int | None, where: str) -> None:
        from mmengine.registry import TRANSFORMS

        try:
            self.transform = TRANSFORMS.build(dict(cfg))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}.pipeline: {cfg.get('type')}: {one_line(error)}") from error
        self.where, self.bit_depth = where, bit_depth
        self._sizes: dict[str, tuple[int, int]] = {}
        self._turns: dict[str, bool] = {}

    @property
    def is_ours(self) -> bool:
        """Whether it is mmattn's, which refuses what it would not read faithfully."""
        return isinstance(self.transform, LoadImageFromFile)

    def load(self, path: str) -> np.ndarray:
        """Return the image as the network's next transform gets it.

        Raises:
            DataError: The loader fails; the message says what the file holds.
        """
        results: dict[str, Any] = {"img_path": path}
        if self.bit_depth is not None:
            results["bit_depth"] = self.bit_depth
        try:
            image = (self.transform(results) or {}).get("img")
            if image is None:
                raise ValueError("it returns no image")
        except Exception as error:
            if self.is_ours and isinstance(error, MMAttnError):
                raise type(error)(f"{self.where}: {_without(self.where, error)}") from error
            # In a training, loaders name the file and advise this very check.
            cause = error.__cause__ if isinstance(error, MMAttnError) else None
            raise DataError(
                f"{self.where}: the image {path}{_held(path)} cannot be loaded by "
                f"{type(self.transform).__name__} ({one_line(cause or error)}). Save it as an "
                "8-bit PNG or JPEG, or take it out of the data"
            ) from error
        self._sizes[path] = image.shape[:2]
        return image

    def header(self, path: str) -> ImageHeader | None:
        """Return the header; None where only the loader knows the format.

        Raises:
            DataError: The file is empty, cut off, not an image or beyond the limit of pixels.
        """
        try:
            header = read_header(path, f"the image {path}")
        except MMAttnError as error:
            raise type(error)(f"{self.where}: {error}") from error
        except (OSError, SyntaxError, ValueError) as error:
            if os.path.getsize(path):
                try:
                    self.load(path)
                    return None
                except MMAttnError:
                    pass
            raise _unreadable(path, self.where, error) from error
        if header.format in _ENDS and not _ends_with(path, _ENDS[header.format]):
            _decode_all(path, self.where)
        return header

    def size(self, path: str) -> tuple[int, int]:
        """Return height and width as loaded, from the header where that is enough."""
        if path not in self._sizes:
            header = self.header(path)
            if header is None:
                self.load(path)
            elif self.is_ours or header.orientation == 1 or self.turns(header.format):
                self._sizes[path] = header.size
            else:
                self._sizes[path] = header.stored_size
        return self._sizes[path]

    def turns(self, image_format: str) -> bool:
        """Return whether the loader turns images of a format as EXIF says, by letting it try."""
        if image_format not in self._turns:
            self._turns[image_format] = False
            content = turned_example(image_format)
            if content:
                with tempfile.TemporaryDirectory() as folder:
                    path = os.path.join(folder, f"turned.{image_format.lower()}")
                    with open(path, "wb") as file:
                        file.write(content)
                    height, width = self.load(path).shape[:2]
                self._turns[image_format] = height > width
        return self._turns[image_format]


def check_images(
    entries: Sequence[dict],
    loader: ImageLoader,
    faults: FaultyFiles,
    *,
    headers: int | None,
    loaded: int | None,
) -> ImageFindings:
    """Read headers of images, load a sample, and compare both with what annotations state.

    Args:
        entries: Entries of the dataset, with ``img_path``, and ``height`` and ``width``
            where annotated.
        loader: Loader of the pipeline.
        faults: Takes up an image that cannot be read or loaded, or that has another size than
            annotated.
        headers: Largest number of headers to read, evenly spread; None reads all.
        loaded: Largest number of images to load, likewise; unusual ones are loaded besizes.

    Raises:
        DataError: The loader leaves nearly nothing of the images.
    """
    chosen = evenly(len(entries), headers).tolist()
    unusual: list[int] = []
    sizes: list[tuple[tuple[int, int], int]] = []
    faulty: set[int] = set()
    for index in chosen:
        faulty.add(index)
        with faults.collected():
            header, size = _header_and_size(entries[index], loader)
            faulty.discard(index)
            if header is None or not header.is_plain:
                unusual.append(index)
            sizes.append((size, index))
    sample = set(evenly(len(entries), loaded).tolist())
    sample = (sample | set(unusual[:_UNUSUAL])) - faulty
    seen = _Losses(loader)
    for index in sorted(sample):
        path = entries[index]["img_path"]
        with faults.collected():
            header = loader.header(path)
            # A decoder that stops at the first fault knows more than one that goes on.
            if header is not None and header.is_plain:
                _decode_all(path, loader.where)
            seen.add(path, header, loader.load(path))
    seen.refuse_dark()
    return ImageFindings(len(chosen), len(sample), seen.notes(), _thin(sizes))


def _header_and_size(
    entry: Mapping[str, Any], loader: ImageLoader
) -> tuple[ImageHeader | None, tuple[int, int]]:
    header = loader.header(entry["img_path"])
    size = loader.size(entry["img_path"])
    stated: tuple[Any, Any] = (entry.get("height"), entry.get("width"))
    # A swapped pair comes from EXIF orientation, which tools treat in both ways.
    turned = header is None or header.orientation in SWAPPED
    if None not in stated and not turned and stated == size[::-1] != size:
        raise DataError(
            f"{loader.where}: the image {entry['img_path']} is {size[0]} x {size[1]} (height x "
            f"width), its annotation says {stated[0]} x {stated[1]}: height and width are swapped. "
            "Write them as they are, and see whether the boxes are turned as well"
        )
    if None not in stated and sorted(stated) != sorted(size):
        raise DataError(
            f"{loader.where}: the image {entry['img_path']} is {size[0]} x {size[1]} (height x "
            f"width), its annotation says {stated[0]} x {stated[1]}. Boxes and masks would "
            "not fit: annotate the image that is there, or restore the annotated one"
        )
    return header, size


def _thin(sizes: Sequence[tuple[tuple[int, int], int]]) -> list[int]:
    """Return the indices of the images of least height, of least width, and the most elongated."""
    if not sizes:
        return []
    orders = (
        lambda size: size[0],
        lambda size: size[1],
        lambda size: size[0] / size[1],
        lambda size: size[1] / size[0],
    )
    return sorted({min(sizes, key=lambda pair: order(pair[0]))[1] for order in orders})


class _Losses:
    """Parts of images that a loader leaves out: bits, bands and pages."""

    def __init__(self, loader: ImageLoader) -> None:
        self.loader = loader
        self.deep: list[str] = []
        self.stored_most = self.loaded_most = 0
        self.more_bands: list[str] = []
        self.more_pages: list[str] = []

    def add(self, path: str, header: ImageHeader | None, image: np.ndarray) -> None:
        """Compare a loaded image with its header."""
        if header is None:
            return
        bands = 1 if image.ndim == 2 else image.shape[2]
        if header.bits > 8 and image.dtype == np.uint8:
            stored = _stored(path)
            if stored is not None:
                self.deep.append(path)
                self.stored_most = max(self.stored_most, int(stored.max(initial=0)))
                self.loaded_most = max(self.loaded_most, int(image.max(initial=0)))
        if header.bands in (2, 4) and not header.is_cmyk and bands in (1, 3):
            self.more_bands.append(path)
            if not self.loader.is_ours and header.bands == 4 and header.bits <= 8:
                self._refuse_multiplied(path, image)
        if header.pages > 1:
            self.more_pages.append(path)

    def _refuse_multiplied(self, path: str, image: np.ndarray) -> None:
        """Refuse colours that the decoder multiplied by the fourth band."""
        with open_image(path) as stored:
            if stored.mode not in ("RGBA", "RGBX"):
                return
            colours = np.asarray(stored)[..., 2::-1]
        if image.shape == colours.shape and np.abs(colours.astype(int) - image).max() > 32:
            raise DataError(
                f"{self.loader.where}: {path} has a fourth band, by which "
                f"{type(self.loader.transform).__name__} multiplies the colours or fills them: "
                "write dict(type='mmattn.LoadImageFromFile'), which drops it, or save three bands"
            )

    def refuse_dark(self) -> None:
        """Raise if images of more than 8 bits are loaded as nearly black ones."""
        if self.deep and not self.loader.is_ours and self.loaded_most < _DARK:
            bits = bits_in_use(np.array([self.stored_most]))
            raise DataError(
                f"{self.loader.where}: {len(self.deep)} images such as {self.deep[0]} hold 16-bit "
                f"values up to {self.stored_most}, that is {bits} bits, and come out of "
                f"{type(self.loader.transform).__name__} as 0 to {self.loaded_most} of 255, nearly "
                f"black. Write dict(type='mmattn.LoadImageFromFile', bit_depth={bits}) in its "
                "place"
            )

    def notes(self) -> tuple[str, ...]:
        """Return what the loader leaves out, in short sentences."""
        notes = []
        if self.deep:
            depth = getattr(self.loader.transform, "bit_depth", None) or self.loader.bit_depth
            kept = f"upper 8 of {depth or 16} bits are kept"
            notes.append(f"{_count(self.deep)} more than 8 bits: the {kept}")
        if self.more_bands:
            notes.append(
                f"{_count(self.more_bands)} an alpha channel or a fourth band, which is dropped"
            )
        if self.more_pages:
            notes.append(f"{_count(self.more_pages)} several pages: the first is taken")
        return tuple(notes)


def _count(paths: Sequence[str]) -> str:
    if len(paths) == 1:
        return f"{paths[0]} has"
    return f"{len(paths)} of the images loaded, such as {paths[0]}, have"


def _stored(path: str) -> np.ndarray | None:
    with open(path, "rb") as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)


def _ends_with(path: str, ending: bytes) -> bool:
    with open(path, "rb") as file:
        file.seek(-min(len(ending), os.path.getsize(path)), os.SEEK_END)
        return file.read() == ending


def _decode_all(path: str, where: str) -> None:
    """Raise a DataError unless every pixel can be decoded."""
    try:
        with open_image(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, where, error) from error


def _held(path: str) -> str:
    """Return what a file holds, in brackets; nothing where that cannot be said."""
    try:
        header = read_header(path)
    except Exception:  # the loader's own error says more
        return ""
    return f" ({header.format}, {header.describe()})"


def _without(where: str, error: Exception) -> str:
    return str(error).removeprefix(f"{where}: ")


def _unreadable(path: str, where: str, error: BaseException) -> DataError:
    size = os.path.getsize(path)
    state = "is empty" if size == 0 else f"cannot be decoded ({error}; {size} bytes)"
    return DataError(
        f"{where}: the image {path} {state}. Fetch or export it again, or take it out of the data"
    )
