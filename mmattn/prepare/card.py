"""What is known about a public dataset, as data: files, terms, layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .source_file import SourceFile
from .stage import Stage


@dataclass(frozen=True)
class Split:
    """Images of one split, and the masks or the list that belong to them.

    Attributes:
        name: Name of the split.
        images: Folder of the images.
        count: Number of images.
        labels: Folder of the masks; empty where there are none.
        image_suffix: End of the name of an image.
        label_suffix: What stands in its place in the name of its mask.
        listing: File with the names of the images without their ending, one a line; by default all
            images of the folder.
        optional: Whether the split may be missing.
    """

    name: str
    images: str
    count: int
    labels: str = ""
    image_suffix: str = ".jpg"
    label_suffix: str = ".png"
    listing: str = ""
    optional: bool = False


@dataclass(frozen=True)
class CocoSplit:
    """Images of one split, and a file in COCO's form about them.

    Attributes:
        name: Name of the split.
        annotations: The JSON file.
        images: Folder of the images; empty where ``coco_url`` says the folder, as in LVIS.
        count: Number of images in the file.
        categories: Number of categories in the file.
        maps: Folder of panoptic maps; empty for boxes and instances.
    """

    name: str
    annotations: str
    images: str
    count: int
    categories: int
    maps: str = ""


@dataclass(frozen=True)
class DatasetCard:
    """A public dataset.

    Attributes:
        name: Name that commands know it by.
        title: Name in prose.
        task: What it is for.
        classes: Number of classes.
        terms: Terms of use, in one or two sentences.
        terms_url: Address where they are told.
        home: Address where a person gets the files.
        files: What it is made of.
        splits: What there is afterwards.
        arrange: Puts the content of the files where the configs look for it.
        account: Whether the files are given to registered users alone; they are never fetched then.
        labels: Values of the masks that are allowed.
        image_size: Height and width that all images have; None where they differ.
        configs: Example of a config that trains on it.
        default_root: Folder that the configs expect.
        notes: What else a user should know.
    """

    name: str
    title: str
    task: str
    classes: int
    terms: str
    terms_url: str
    home: str
    files: tuple[SourceFile, ...]
    splits: tuple[Split | CocoSplit, ...]
    arrange: Callable[[Stage], None]
    account: bool = False
    labels: frozenset[int] = frozenset()
    image_size: tuple[int, int] | None = None
    configs: str = ""
    default_root: str = ""
    notes: tuple[str, ...] = ()
