"""The images that a prediction is about: find their files and load them as the config says."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.registry_scope import enter_scope, explain_registry_errors
from mmattn.config.walk import innermost_dataset
from mmattn.errors import ConfigError, DataError
from mmattn.inference.missing import missing_part
from mmattn.tasks import task_of
from mmattn.type_names import bare_name

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config


def find_images(paths: Iterable[str | Path], *, below: bool = False) -> list[Path]:
    """List the images in ``paths``, which are files and folders, without repetition.

    Hidden files in folders, such as the ``._a.png`` of macOS, are passed over. A path with ``*``,
    ``?`` or ``[`` that does not exist is a pattern, in which ``**`` stands for any folders.

    Args:
        paths: Files, folders and patterns.
        below: Take the images in sub-folders of a folder, too, where masks would do no harm.

    Raises:
        DataError: A path does not exist, a folder holds no images, or nothing fits a pattern.
    """
    from mmattn.images import images_below, list_images

    files: list[Path] = []
    for path in _expanded(paths):
        if path.is_dir():
            inside = images_below(path) if below else list_images(path)
            if not inside:
                raise DataError(_why_no_images(path))
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"{path}: no such image or folder; {missing_part(path)}")
    return list(dict.fromkeys(files))


def _why_no_images(folder: Path) -> str:
    """Say what a folder without images holds; those of its sub-folders may be masks."""
    from mmattn.images import IMAGE_SUFFIXES, images_below

    # Names with brackets or stars would be patterns themselves.
    pattern = f"'{glob.escape(str(folder))}/**/*'"
    below = images_below(folder)
    if below:
        count = f"{len(below)} image{'' if len(below) == 1 else 's'}"
        return (
            f"{folder} holds no images itself; its sub-folders hold {count}, such as {below[0]}. "
            f"Name the sub-folder, or take all with the pattern {pattern}"
        )
    return f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})"


def _expanded(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the paths, with patterns replaced by what fits them."""
    from mmattn.images import is_image_file

    for path in map(Path, paths):
        if path.exists() or not glob.has_magic(str(path)):
            yield path
            continue
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        found = [file for file in found if is_image_file(file.name) and file.is_file()]
        if not found:
            raise DataError(f"{path}: no image fits this pattern")
        yield from found


class TestPipeline:
    """The transforms of a config's test dataset, without those that load annotations.

    Args:
        cfg: Whole config, with a ``test_dataloader`` or a ``val_dataloader``.

    Raises:
        ConfigError: The config has no test pipeline, or a transform is not registered.
    """

    __test__ = False  # the name is for users, not for pytest

    def __init__(self, cfg: Config) -> None:
        from mmengine.dataset import Compose

        loader = cfg.get("test_dataloader") or cfg.get("val_dataloader")
        dataset = innermost_dataset(loader["dataset"]) if loader else {}
        steps = dataset.get("pipeline")
        if not steps:
            raise ConfigError(f"{cfg.filename} has no test pipeline, which prepares the images")
        enter_scope(cfg)
        # An image to predict has no ground truth.
        loaders = task_of(cfg).annotation_loaders
        kept = [step for step in deepcopy(steps) if bare_name(step["type"]) not in loaders]
        with explain_registry_errors(cfg.filename):
            self.transforms = Compose(kept).transforms
        #: What the dataset tells the loader of images beside their paths.
        self.bit_depth: int | None = dataset.get("bit_depth")

    def __call__(self, file: Path) -> tuple[dict[str, Any], np.ndarray]:
        """Decode an image once and prepare it for the model.

        Returns:
            What the pipeline makes of the file, and the image as it was decoded: (H, W, 3) uint8
            RGB.

        Raises:
            DataError: The file cannot be read or prepared.
        """
        # mmdet's packing asks for an id, which a file outside a dataset has not.
        results: dict[str, Any] | None = {"img_path": str(file), "img_id": 0}
        if self.bit_depth is not None:
            results["bit_depth"] = self.bit_depth
        decoded = None
        try:
            for transform in self.transforms:
                results = transform(results)
                if results is None:
                    raise ValueError(f"{type(transform).__name__} leaves it out")
                if decoded is None and "img" in results:
                    decoded = _as_rgb(results["img"])
        except Exception as error:
            reason = " ".join(str(error).split()).removeprefix(f"{file}: ")
            raise DataError(f"{file} cannot be read: {reason}") from error
        if decoded is None:
            from mmattn.images import read_image

            decoded = read_image(file, bit_depth=self.bit_depth)
        return results, decoded

    def prepare(self, image: np.ndarray) -> dict[str, Any]:
        """Prepare an image that is decoded already, (H, W, 3) uint8 RGB, for the model.

        Raises:
            DataError: A transform cannot prepare it.
        """
        import numpy as np

        size = image.shape[:2]
        results: dict[str, Any] | None = {
            "img": np.ascontiguousarray(image[..., ::-1]),
            "img_id": 0,
            "img_path": "",
            "img_shape": size,
            "ori_shape": size,
        }
        loaders = [
            index
            for index, transform in enumerate(self.transforms)
            if type(transform).__name__.startswith("LoadImage")
        ]
        try:
            for transform in self.transforms[loaders[-1] + 1 if loaders else 0 :]:
                results = transform(results)
                if results is None:
                    raise ValueError(f"{type(transform).__name__} leaves it out")
        except Exception as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"an image of {size[0]} x {size[1]} cannot be prepared: {reason}"
            ) from error
        return results


def _as_rgb(image: np.ndarray) -> np.ndarray | None:
    """Copy an image of a loader (BGR, grey or float) as uint8 RGB; None for other channels."""
    import numpy as np

    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        return None
    if image.dtype != np.uint8:
        image = image.clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image[..., ::-1], (*image.shape[:2], 3)))
