"""DRIVE: vessels of the retina."""

from __future__ import annotations

import io

import numpy as np

from mmattn.errors import DataError, one_line
from mmattn.images import open_image, read_header
from mmattn.prepare.card import DatasetCard, Split
from mmattn.prepare.masks import png
from mmattn.prepare.pixels import read_pixels
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

_TRAINING = SourceFile(
    "training.zip",
    top="training",
    holds=("images/*_training.tif", "1st_manual/*_manual1.gif"),
)
_TEST = SourceFile("test.zip", top="test", holds=("images/*_test.tif",))


def _arrange(stage: Stage) -> None:
    _split(stage, _TRAINING.name, "_training.tif", "training")
    if stage.names(_TEST.name, "1st_manual/", "_manual1.gif"):
        _split(stage, _TEST.name, "_test.tif", "validation")
        return
    # The challenge keeps them, and older copies of the archive have them.
    stage.say(
        f"  {_TEST.name} has no 1st_manual: its images become images/test, and there is no split "
        "validation. Keep some of training for it, or use an archive with 1st_manual"
    )
    images = _chosen(stage, _TEST.name, "_test.tif")
    stage.put(_TEST.name, {n: f"images/test/{_stem(n)}.png" for n in images}, _image)


def _split(stage: Stage, archive: str, end: str, split: str) -> None:
    images = _chosen(stage, archive, end)
    stage.put(archive, {n: f"images/{split}/{_stem(n)}.png" for n in images}, _image)
    masks = {
        f"1st_manual/{_stem(n)}_manual1.gif": f"annotations/{split}/{_stem(n)}_manual1.png"
        for n in images
    }
    stage.put(archive, masks, _vessels)


def _chosen(stage: Stage, archive: str, end: str) -> list[str]:
    names = stage.names(archive, "images/", end)
    return stage.subset.choose(names) if stage.subset else names


def _stem(name: str) -> str:
    return name.rpartition("/")[2].partition("_")[0]


def _image(name: str, content: bytes) -> bytes:
    return png(read_pixels(content, name))


def _vessels(name: str, content: bytes) -> bytes:
    """Return 1 for vessels, which are white; a GIF may number its colours as it likes."""
    try:
        read_header(content, name)
        with open_image(io.BytesIO(content)) as image:
            grey = np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{name} is no mask that can be read ({one_line(error)}): get the archive again"
        ) from error
    return png(grey >= 128)


DRIVE = DatasetCard(
    name="drive",
    title="DRIVE",
    task="semantic segmentation of retinal vessels",
    classes=2,
    terms="research and education, free of charge; no copies to others, no commercial use",
    terms_url="https://drive.grand-challenge.org/",
    home="https://drive.grand-challenge.org/",
    files=(_TRAINING, _TEST),
    splits=(
        Split(
            *("training", "images/training", 20, "annotations/training"),
            image_suffix=".png",
            label_suffix="_manual1.png",
        ),
        Split(
            *("validation", "images/validation", 20, "annotations/validation"),
            image_suffix=".png",
            label_suffix="_manual1.png",
            optional=True,
        ),
        Split("test", "images/test", 20, image_suffix=".png", optional=True),
    ),
    arrange=_arrange,
    account=True,
    labels=frozenset({0, 1}),
    image_size=(584, 565),
    configs="mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py",
    default_root="data/DRIVE",
    notes=("the masks are those of the first observer",),
)
