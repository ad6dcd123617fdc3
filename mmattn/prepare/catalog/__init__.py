"""The datasets that are known by name, a file each.

Sizes and digests are those that publishers, or TensorFlow Datasets, torchvision and GluonCV, which
check them in their own downloads, have published; where nothing is, the field is empty.
"""

from __future__ import annotations

from mmattn.errors import ConfigError, did_you_mean
from mmattn.prepare.card import DatasetCard

from .ade20k import ADE20K
from .bdd100k import BDD100K
from .camvid import CAMVID, CAMVID_LARGE
from .cityscapes import CITYSCAPES
from .coco2017 import COCO2017
from .drive import DRIVE
from .lvis import LVIS
from .voc2012 import VOC2012

#: Name -> dataset.
CATALOG: dict[str, DatasetCard] = {
    card.name: card
    for card in (
        ADE20K,
        BDD100K,
        CAMVID,
        CAMVID_LARGE,
        CITYSCAPES,
        COCO2017,
        DRIVE,
        LVIS,
        VOC2012,
    )
}


def card_of(name: str) -> DatasetCard:
    """Return a dataset of the catalog.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in CATALOG:
        raise ConfigError(
            f"there is no dataset {name!r} in the catalog.{did_you_mean(name.lower(), CATALOG)} "
            f"Known are {', '.join(CATALOG)}; mmattn data list says more"
        )
    return CATALOG[name]
