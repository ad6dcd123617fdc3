"""Which images and masks a folder holds, which belong together, and which are for validation.

Layouts that are recognised, letter case aside (``masks`` stands for any of ``MASK_FOLDERS``,
``images`` for any of ``IMAGE_FOLDERS``)::

    images/{train,val}/a.jpg   masks/{train,val}/a.png       splits inside
    {train,val}/images/a.jpg   {train,val}/masks/a.png       splits outside
    images/a.jpg               masks/a.png                   no splits

Images and masks may lie in further folders, the same on both sides. Where there is no ``val``,
images are drawn for it: an image is for validation when the hash of the seed and its name falls
below ``val_fraction``. So the split does not depend on the machine, and an image that is added
later moves no other one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmattn.data.files import check_place, endings
from mmattn.data.images import IMAGE_SUFFIXES
from mmattn.errors import ConfigError, DataError, did_you_mean

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "jpegimages", "pictures")
MASK_FOLDERS = (
    *("annotations", "annotation", "ann_dir", "masks", "mask", "labels", "label"),
    *("gt", "segmentations", "segmentationclass"),
)
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


# What tools append to the name of a mask or an image; several may follow each other.
_MASK_ENDING = re.compile(
    r"(?:[_\-. ](?:masks?|gt[a-z]*|labels?|label_?(?:train)?ids|trainids|seg(?:mentation)?|"
    r"anno(?:tation)?|l))+$",
    re.IGNORECASE,
)
_IMAGE_ENDING = re.compile(r"[_\-. ](?:leftimg8bit|image|img|rgb|picture|photo|sat)$", re.I)
_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """An image and its mask, as paths that can be opened."""

    image: str
    mask: str


@dataclass(frozen=True)
class FolderLayout:
    """Where the images and masks of a folder lie.

    Attributes:
        root: the folder.
        folders: split to (folder of images, folder of masks), relative to ``root``; the one key
            is ``"all"`` where there are no splits.
        img_suffix: what images end with; any of ``IMAGE_SUFFIXES`` where it is None.
        seg_map_suffix: what follows an image's stem in its mask's name; worked out where None.
        skip_unlabelled: leave images without a mask out instead of refusing them.
        val_fraction: share of the images that become ``val`` where there is none.
        split_seed: of that draw.
    """

    root: str
    folders: Mapping[str, tuple[str, str]]
    img_suffix: str | None = None
    seg_map_suffix: str | None = None
    skip_unlabelled: bool = False
    val_fraction: float = 0.2
    split_seed: int = 0
    _matched: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def drawn(self) -> str | None:
        """The split, or ``"all"``, that ``val`` is drawn from; None where ``val`` is a folder."""
        if "val" in self.folders or ("test" in self.folders and "train" not in self.folders):
            return None
        return "train" if "train" in self.folders else "all"

    def folders_of(self, split: str) -> tuple[str, str]:
        """The folders of images and masks that ``split`` comes from.

        Raises:
            DataError: there is no such split.
        """
        if split in self.folders:
            return self.folders[split]
        if self.drawn and split in ("train", "val"):
            return self.folders[self.drawn]
        if split == "all":  # the folders above the splits, for messages alone
            return next(iter(self.folders.values()))
        known = dict.fromkeys([*self.folders, *(("train", "val") if self.drawn else ()), "all"])
        raise DataError(
            f"{self.root} has no split {split!r} with masks, but {', '.join(known)}. Set split= to "
            f"one of them, or add the folders"
        )

    def pairs(self, split: str) -> list[Pair]:
        """The images of a split with their masks, in the order of their names.

        Args:
            split: ``train``, ``val``, ``test``, or ``all`` for everything there is.

        Raises:
            DataError: no such split, no image, an image without mask, two masks for one, or one
                mask for several.
        """
        if split == "all":
            return [pair for name in self.folders for pair in self._read(name).values()]
        self.folders_of(split)
        if split in self.folders and not (split == "train" and self.drawn == "train"):
            return list(self._read(split).values())
        pool = self._read(self.drawn)
        if len(pool) < 2:
            raise DataError(
                f"{self.root}: one image cannot be split into train and val. Add images, or "
                "put it into both by hand"
            )
        chosen = draw(pool, self.val_fraction, self.split_seed)
        return [pair for stem, pair in pool.items() if (stem in chosen) == (split == "val")]

    def unused_masks(self) -> int:
        """How many files beside the masks belong to no image."""
        count = 0
        for images, masks in self.folders.values():
            found = _files(os.path.join(self.root, masks))
            count += len(found) - len(self._match(images, masks)[0])
        return count

    def _read(self, name: str) -> dict[str, Pair]:
        images, masks = self.folders[name]
        pairs, lonely = self._match(images, masks)
        if lonely and not self.skip_unlabelled:
            raise self._without_mask(lonely, len(pairs) + len(lonely), masks)
        if not pairs:
            where = os.path.join(self.root, images)
            asked = self.img_suffix or "/".join(IMAGE_SUFFIXES)
            raise DataError(
                f"{where} holds no image with a mask: it has {endings(where)}; images end in "
                f"{asked} (img_suffix), masks lie in {os.path.join(self.root, masks)}"
            )
        return pairs

    def _match(self, images: str, masks: str) -> tuple[dict[str, Pair], list[str]]:
        """(stem to pair, images without a mask) of two folders; they are looked at once."""
        if (images, masks) not in self._matched:
            self._matched[images, masks] = self._look(images, masks)
        return self._matched[images, masks]

    def _look(self, images: str, masks: str) -> tuple[dict[str, Pair], list[str]]:
        top, below = os.path.join(self.root, images), os.path.join(self.root, masks)
        stems = _by_stem(_files(top), self.img_suffix, top)
        exact: dict[str, list[str]] = {}
        loose: dict[str, list[str]] = {}
        for name in _files(below):
            if self.seg_map_suffix is not None:
                if name.endswith(self.seg_map_suffix):
                    exact.setdefault(name.removesuffix(self.seg_map_suffix), []).append(name)
                continue
            stem = os.path.splitext(name)[0]
            exact.setdefault(stem, []).append(name)
            bare = _MASK_ENDING.sub("", stem)
            if bare != stem:
                loose.setdefault(bare, []).append(name)
        pairs: dict[str, Pair] = {}
        lonely: list[str] = []
        for stem, name in stems.items():
            bare = _IMAGE_ENDING.sub("", stem)
            found = exact.get(stem) or loose.get(stem) or exact.get(bare) or loose.get(bare)
            if not found:
                lonely.append(name)
            elif len(found) > 1:
                raise self._several(os.path.join(top, name), below, found, (stem, bare))
            else:
                pairs[stem] = Pair(os.path.join(top, name), os.path.join(below, found[0]))
        _check_each_has_its_own(pairs.values())
        return pairs, lonely

    def _several(
        self, image: str, masks: str, found: Sequence[str], stems: tuple[str, str]
    ) -> DataError:
        stem = stems[0] if found[0].startswith(stems[0]) else stems[1]
        suffixes = [name.removeprefix(stem) for name in found]
        return DataError(
            f"{image} has {len(found)} masks in {masks}: {', '.join(sorted(found)[:_SHOWN])}. "
            f"Set seg_map_suffix={sorted(suffixes)[0]!r}, or what else follows the image's name "
            "in the right ones"
        )

    def _without_mask(self, lonely: Sequence[str], count: int, masks: str) -> DataError:
        place = os.path.join(self.root, masks)
        listed = ", ".join(lonely[:_SHOWN]) + (", ..." if len(lonely) > _SHOWN else "")
        there = [os.path.basename(name) for name in _files(place)]
        stem = os.path.splitext(os.path.basename(lonely[0]))[0]
        near = [name for name in there if name.startswith(stem)] or sorted(there)[:2]
        beside = f"it has {', '.join(near[:2])}" if near else f"it holds {endings(place)}"
        return DataError(
            f"{len(lonely)} of {count} images have no mask in {place}: {listed}; {beside}. A "
            "mask has its image's name, or that and an ending such as _mask: set seg_map_suffix "
            "for another one; unlabelled='skip' leaves images without a mask out"
        )


def find_layout(
    root: str, *, img_dir: str | None = None, ann_dir: str | None = None, **options
) -> FolderLayout:
    """Look into a folder.

    Args:
        root: the folder.
        img_dir: the folder of images in it, where its name is none of ``IMAGE_FOLDERS``.
        ann_dir: the folder of masks, likewise.
        **options: further fields of ``FolderLayout``.

    Raises:
        DataError: the folder is missing or has none of the layouts.
    """
    check_place(root, "data_root", folder=True)
    if not 0 < options.get("val_fraction", 0.2) < 1:
        raise ConfigError(f"val_fraction={options['val_fraction']}: give a share between 0 and 1")
    images, masks = _folder(root, img_dir, True), _folder(root, ann_dir, False)
    if images and masks:
        return FolderLayout(root, _inner_splits(root, images, masks), **options)
    outer = {}
    for split, names in SPLITS.items():
        for name in _subfolders(root):
            if name.lower() in names:
                inside = os.path.join(root, name)
                images, masks = _folder(inside, img_dir, True), _folder(inside, ann_dir, False)
                if images and masks:
                    outer[split] = (os.path.join(name, images), os.path.join(name, masks))
    if outer:
        return FolderLayout(root, outer, **options)
    raise DataError(_no_layout(root, img_dir, ann_dir))


def draw(stems: Iterable[str], fraction: float, seed: int) -> set[str]:
    """The names for validation: those whose hash falls below ``fraction``; never none, never all.

    >>> sorted(draw(["a", "b", "c", "d", "e"], 0.4, seed=0))
    ['d']
    """
    ranks = {
        stem: int.from_bytes(hashlib.sha256(f"{seed}:{stem}".encode()).digest()[:8]) / 2**64
        for stem in stems
    }
    order = sorted(ranks, key=ranks.__getitem__)
    chosen = sum(rank < fraction for rank in ranks.values())
    return set(order[: min(max(chosen, 1), len(order) - 1)])


def _inner_splits(root: str, images: str, masks: str) -> dict[str, tuple[str, str]]:
    """The splits inside a folder of images and one of masks."""
    split_of = {name: split for split, names in SPLITS.items() for name in names}
    found: dict[str, dict[str, str]] = {}
    for top in (images, masks):
        inside = _subfolders(os.path.join(root, top))
        found[top] = {split_of[n.lower()]: n for n in inside if n.lower() in split_of}
    if not found[images] and not found[masks]:
        return {"all": (images, masks)}
    for top in (images, masks):
        place = os.path.join(root, top)
        loose = [n for n in os.listdir(place) if _is_image(n)]
        if loose or not found[top]:
            other = masks if top == images else images
            there = ", ".join(sorted((found[top] or found[other]).values()))
            raise DataError(
                f"{place} holds {len(loose)} files such as {sorted(loose)[:1]} beside the folders "
                f"{there}: put each into one of them"
                if found[top]
                else f"{os.path.join(root, other)} is split into {there}, {place} is not: split "
                "both, or none"
            )
    both = {
        split: (os.path.join(images, name), os.path.join(masks, found[masks][split]))
        for split, name in found[images].items()
        if split in found[masks]
    }
    for split in ("train", "val"):
        if (split in found[images]) != (split in found[masks]):
            has, lacks = (images, masks) if split in found[images] else (masks, images)
            raise DataError(
                f"{os.path.join(root, has, found[has][split])} exists, but {lacks}/{split} does "
                f"not: each split needs images and masks"
            )
    return both


def _folder(root: str, given: str | None, of_images: bool) -> str | None:
    """The folder of images or masks below ``root``; None where there is none.

    Raises:
        DataError: several could be meant.
    """
    option, known = ("img_dir", IMAGE_FOLDERS) if of_images else ("ann_dir", MASK_FOLDERS)
    if given is not None:
        return given if os.path.isdir(os.path.join(root, given)) else None
    found = [name for name in _subfolders(root) if name.lower() in known]
    # COCO's and VOC's annotations may lie there as well: a folder without images is none.
    found = [n for n in found if len(found) == 1 or _files(os.path.join(root, n), limit=1)]
    if len(found) > 1:
        raise DataError(
            f"{root} has {' and '.join(sorted(found))}, each of which could hold the "
            f"{'images' if of_images else 'masks'}: set {option}={sorted(found)[0]!r} or the "
            "other"
        )
    return found[0] if found else None


def _no_layout(root: str, img_dir: str | None, ann_dir: str | None) -> str:
    there = _subfolders(root)
    listed = ", ".join(f"{name}/" for name in there[:8]) or f"no folder, but {endings(root)}"
    for option, given in (("img_dir", img_dir), ("ann_dir", ann_dir)):
        if given is not None and not os.path.isdir(os.path.join(root, given)):
            return f"{option}={given!r}: {root} has no such folder.{did_you_mean(given, there)}"
    for name in there:
        deeper = os.path.join(root, name)
        if _folder(deeper, img_dir, True) and _folder(deeper, ann_dir, False):
            return f"{root} holds no images and masks, but {deeper} does: set data_root to it"
    return (
        f"{root} has none of the known layouts; it holds {listed}. Put images into images/ and "
        "masks of the same names into masks/, each with train/ and val/ inside if you want to say "
        "which is which, or name your folders with img_dir= and ann_dir="
    )


def _check_each_has_its_own(pairs: Iterable[Pair]) -> None:
    """Refuse a mask that several images would have, as a.jpg and a_rgb.jpg have a.png."""
    images: dict[str, list[str]] = {}
    for pair in pairs:
        images.setdefault(pair.mask, []).append(pair.image)
    for mask, users in images.items():
        if len(users) > 1:
            raise DataError(
                f"{len(users)} images have the one mask {mask}: {', '.join(users[:_SHOWN])}. "
                "Give each a mask of its very name, or move the others out of the folder"
            )


def _by_stem(names: Sequence[str], suffix: str | None, folder: str) -> dict[str, str]:
    stems: dict[str, str] = {}
    for name in names:
        if suffix is not None and not name.endswith(suffix):
            continue
        stem = name.removesuffix(suffix) if suffix else os.path.splitext(name)[0]
        if stem in stems:
            raise DataError(
                f"{folder} holds {stems[stem]} and {name}: two images of one name. Rename one, "
                "or set img_suffix to the ending of the right ones"
            )
        stems[stem] = name
    return stems


def _files(folder: str, limit: int | None = None) -> list[str]:
    """Image files below a folder, relative to it and sorted; hidden ones are passed over."""
    found: list[str] = []
    seen: set[str] = set()
    for place, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            inside.clear()
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        relative = Path(place).relative_to(folder)
        found += [(relative / name).as_posix() for name in names if _is_image(name)]
        if limit is not None and len(found) >= limit:
            break
    return sorted(found)


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def _subfolders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
