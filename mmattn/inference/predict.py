"""Predict images that belong to no dataset: class maps, and the classes painted over them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmattn.config.load import innermost_dataset
from mmattn.config.registry_scope import explain_registry_errors
from mmattn.errors import ConfigError, DataError

from .model import build_model

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mmengine.config import Config
    from torch import nn

# They need a mask, which an image to predict has not.
_LOADERS = ("LoadAnnotations", "LoadFolderMask")


def predict_images(
    cfg: Config,
    checkpoint: str | Path,
    images: Iterable[str | Path],
    out: str | Path,
    *,
    device: str | torch.device | None = None,
    opacity: float = 0.5,
    fuse: bool = True,
    allow_partial: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> list[Path]:
    """Predict images and write, for each, what was found.

    Args:
        cfg: Of a semantic segmentation model; its test pipeline prepares the images.
        checkpoint: The model's weights.
        images: Files and folders.
        out: Folder for ``STEM.png``, the index of each pixel's class (16 bits for more than 256
            classes), for ``STEM_overlay.jpg``, and for ``classes.json``, the names by index. It is
            made if it is not there.
        device: Where the model runs; a GPU if there is one.
        opacity: Of the classes' colours, 0 to 1.
        fuse: Run the model's inference form where it has one (``mmattn.layers.fuse``).
        allow_partial: Take a checkpoint that leaves some weights of what predicts random.
        say: Told about each image: its file and the classes by their share.

    Returns:
        The class maps written.

    Raises:
        ConfigError: The config has no test pipeline.
        DataError: An image is missing or cannot be read, two would have one name, or a result
            would take the place of an image.
        CheckpointError: The weights do not belong to the model.
    """
    import torch

    from mmattn.export.check_images import read_image
    from mmattn.layers.fuse import fuse as inference_form

    files, out = _files(images), Path(out)
    _protect(files, out)
    pipeline = _pipeline(cfg)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build_model(cfg, checkpoint, device, allow_partial=allow_partial)
    if fuse:
        model = inference_form(model)
    names = _names(model)
    out.mkdir(parents=True, exist_ok=True)
    (out / "classes.json").write_text(json.dumps(names, ensure_ascii=False) + "\n", "utf-8")
    written = []
    for file in files:
        classes = _predict(model, pipeline, file, len(names))
        overlay = _painted(read_image(file), classes, model, len(names), opacity)
        class_map, painting = _results(file, out)
        _write(class_map, classes)
        _write(painting, overlay[..., ::-1])
        written.append(class_map)
        say(f"{file}: {_shares(classes, names)}")
    return written


def _files(images: Iterable[str | Path]) -> list[Path]:
    from mmattn.export.check_images import SUFFIXES

    files: list[Path] = []
    for path in map(Path, images):
        if path.is_dir():
            inside = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"{path} holds no images ({', '.join(SUFFIXES)})")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"{path}: no such image or folder")
    by_stem: dict[str, Path] = {}
    for file in files:
        other = by_stem.setdefault(file.stem, file)
        if other != file:
            raise DataError(
                f"{other} and {file} would both be written as {file.stem}.png: predict them into "
                "two folders"
            )
    return list(by_stem.values())


def _results(file: Path, out: Path) -> tuple[Path, Path]:
    """Where the class map and the overlay of an image go."""
    return out / f"{file.stem}.png", out / f"{file.stem}_overlay.jpg"


def _protect(files: list[Path], out: Path) -> None:
    """No result may take the place of an image, or of another image's result."""
    taken = {file.resolve() for file in files}
    for file in files:
        for result in _results(file, out):
            if result.resolve() in taken:
                raise DataError(
                    f"{out}: the result of {file} would be written over {result}. Give another "
                    "folder as out."
                )
            taken.add(result.resolve())


def _pipeline(cfg: Config) -> Callable[[dict], dict]:
    """The config's test pipeline without what loads masks."""
    from mmengine.dataset import Compose

    from mmattn.config.registry_scope import enter_scope

    loader = cfg.get("test_dataloader") or cfg.get("val_dataloader")
    steps = innermost_dataset(loader["dataset"]).get("pipeline") if loader else None
    if not steps:
        raise ConfigError(f"{cfg.filename} has no test pipeline, which prepares the images")
    enter_scope(cfg)
    kept = [s for s in deepcopy(steps) if str(s["type"]).rpartition(".")[2] not in _LOADERS]
    with explain_registry_errors(cfg.filename):
        return Compose(kept)


def _predict(
    model: nn.Module, pipeline: Callable[[dict], dict], file: Path, num_classes: int
) -> np.ndarray:
    """The class of each pixel of the image as it is stored, (H, W) uint8 or uint16."""
    import numpy as np
    import torch

    try:
        prepared = pipeline({"img_path": str(file)})
    except Exception as error:
        raise DataError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    batch = {key: [value] for key, value in prepared.items()}
    with torch.no_grad():
        (sample,) = model.test_step(batch)
    kind = np.uint8 if num_classes <= 256 else np.uint16
    return sample.pred_sem_seg.data[0].cpu().numpy().astype(kind)


def _names(model: nn.Module) -> list[str]:
    """Of the data that the model was trained on, else numbers."""
    known = list((model.dataset_meta or {}).get("classes") or ())
    return known or [f"class {index}" for index in range(max(2, model.out_channels))]


def _painted(
    image: np.ndarray, classes: np.ndarray, model: nn.Module, count: int, opacity: float
) -> np.ndarray:
    from mmattn.palette import complete_palette
    from mmattn.reports.overlays import blend

    palette = complete_palette((model.dataset_meta or {}).get("palette") or (), count)
    return blend(image, classes, palette, opacity=opacity)


def _shares(classes: np.ndarray, names: list[str]) -> str:
    import numpy as np

    counts = np.bincount(classes.reshape(-1), minlength=len(names))
    order = [index for index in np.argsort(-counts, kind="stable").tolist() if counts[index]]
    return ", ".join(f"{names[i]} {counts[i] / classes.size:.1%}" for i in order[:5])


def _write(path: Path, pixels: Any) -> None:
    import cv2
    import numpy as np

    done, encoded = cv2.imencode(path.suffix, np.ascontiguousarray(pixels))
    if not done:
        raise DataError(f"{path}: OpenCV could not encode an image of shape {pixels.shape}")
    path.write_bytes(encoded.tobytes())
