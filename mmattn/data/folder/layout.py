"""Layout of a folder: its images, their masks, and which of them are for validation.

Layouts that are recognised, letter case aside (``masks`` stands for any of ``MASK_FOLDERS``,
``images`` for any of ``IMAGE_FOLDERS``)::

    images/{train,val}/a.jpg   masks/{train,val}/a.png       splits inside
    {train,val}/images/a.jpg   {train,val}/masks/a.png       splits outside
    images/a.jpg               masks/a.png                   no splits

Images and masks may lie in further folders, the same on both sides. Where there is no ``val``,
images are drawn for it, whole sub-folders where there are several (``draw.py``): one is for
validation when the hash of the seed and its name falls below ``val_fraction``. So the split does
not depend on the machine, and an image that is added later moves no other one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mmattn.data.files import check_place, endings
from mmattn.errors import DataError, did_you_mean
from mmattn.given_words import of_dataset, word_of
from mmattn.images import IMAGE_SUFFIXES, is_image_file

from .beside import rivals
from .draw import DrawOptions, ValDraw, draw_val
from .listing import files_below, subfolders
from .patterns import SPLITS, Pattern, pattern_of, suggest_patterns

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "jpegimages", "pictures")
MASK_FOLDERS = (
    *("annotations", "annotation", "ann_dir", "masks", "mask", "labels", "label"),
    *("gt", "segmentations", "segmentationclass"),
)
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
    """Places of the images and masks of a folder.

    Attributes:
        root: Path of the folder.
        folders: Split -> (folder of images, folder of masks), relative to ``root``; the one key
            is ``"all"`` where there are no splits.
        img_suffix: Ending of image files; any of ``IMAGE_SUFFIXES`` where it is None.
        seg_map_suffix: Ending that follows an image's stem in its mask's name; None: it is found.
        image_pattern: Pattern of the names of images, one for all splits or one for each.
        mask_pattern: Pattern of the names of masks, likewise.
        skip_missing_masks: Leave images without a mask out instead of refusing them.
        val_fraction: Share of the images that become ``val`` where there is none.
        split_seed: Random seed of that draw.
        draw_by: ``folder`` or ``image``, what is drawn; see ``draw.DrawOptions``.
        not_used: Folders of images beside those in ``folders``, relative to ``root``.
    """

    root: str
    folders: Mapping[str, tuple[str, str]]
    img_suffix: str | None = None
    seg_map_suffix: str | None = None
    image_pattern: Pattern = None
    mask_pattern: Pattern = None
    skip_missing_masks: bool = False
    val_fraction: float = 0.2
    split_seed: int = 0
    draw_by: str = "folder"
    not_used: Sequence[str] = ()
    _matched: dict = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def drawn(self) -> str | None:
        """The split, or ``"all"``, that ``val`` is drawn from; None where ``val`` is a folder."""
        if "val" in self.folders or ("test" in self.folders and "train" not in self.folders):
            return None
        return "train" if "train" in self.folders else "all"

    def folders_of(self, split: str) -> tuple[str, str]:
        """Return the folders of images and masks that ``split`` comes from.

        Raises:
            DataError: There is no such split.
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
        """Return the images of a split with their masks, in the order of their names.

        Args:
            split: ``train``, ``val``, ``test``, or ``all`` for everything there is.

        Raises:
            DataError: No such split, no image, an image without mask, two masks for one, or one
                mask for several.
        """
        if split == "all":
            return [pair for name in self.folders for pair in self._read(name).values()]
        self.folders_of(split)
        if split in self.folders and not (split == "train" and self.drawn == "train"):
            return list(self._read(split).values())
        pool = list(self._read(self.drawn).values())
        if len(pool) < 2:
            raise DataError(
                f"{self.root}: one image cannot be split into train and val. Add images, or "
                "put it into both by hand"
            )
        val = self.draw().val
        return [pair for pair, drawn in zip(pool, val, strict=True) if drawn == (split == "val")]

    def draw(self) -> ValDraw:
        """Draw ``val``, where it is no folder of its own."""
        pool = self._read(self.drawn or "all")
        options = DrawOptions(self.val_fraction, self.split_seed, self.draw_by)
        return draw_val(list(pool), [pair.image for pair in pool.values()], options)

    def unused_masks(self) -> list[str]:
        """Return the files beside the masks that belong to no image."""
        unused = []
        for name, (_, masks) in self.folders.items():
            below = os.path.join(self.root, masks)
            used = {pair.mask for pair in self._match(name).pairs.values()}
            files = (os.path.join(below, file) for file in files_below(below))
            unused += [file for file in files if file not in used]
        return unused

    def left_out(self) -> dict[str, str]:
        """Return the files in the folders of images that are not used, with the reason."""
        found: dict[str, str] = {}
        for name, (images, _) in self.folders.items():
            matched = self._match(name)
            top = os.path.join(self.root, images)
            lonely = dict.fromkeys(matched.lonely, "it has no mask")
            for file, reason in {**matched.passed_over, **lonely}.items():
                found[os.path.join(top, file)] = reason
        return found

    def _read(self, name: str) -> dict[str, Pair]:
        images, masks = self.folders[name]
        matched = self._match(name)
        pairs, lonely = matched.pairs, matched.lonely
        if lonely and not self.skip_missing_masks:
            raise self._without_mask(lonely, len(pairs) + len(lonely), name)
        if not pairs:
            where = os.path.join(self.root, images)
            asked = self.img_suffix or "/".join(IMAGE_SUFFIXES)
            if self.image_pattern is not None:
                asked = f"{asked} and are named {self.image_pattern} (image_pattern)"
            raise DataError(
                f"{where} holds no image with a mask: it has {endings(where)}; images end in "
                f"{asked} (img_suffix), masks lie in {os.path.join(self.root, masks)}"
            )
        return pairs

    def _match(self, split: str) -> _Matched:
        """Match the folders of a split; they are looked at once."""
        if split not in self._matched:
            self._matched[split] = self._look(split)
        return self._matched[split]

    def _look(self, split: str) -> _Matched:
        images, masks = self.folders[split]
        top, below = os.path.join(self.root, images), os.path.join(self.root, masks)
        stems, passed_over = self._images_by_name(top, split)
        exact, loose = self._masks_by_name(below, split)
        found = _Matched({}, [], passed_over)
        for stem, name in stems.items():
            bare = _IMAGE_ENDING.sub("", stem)
            own = exact.get(stem) or loose.get(stem) or exact.get(bare) or loose.get(bare)
            if not own:
                found.lonely.append(name)
            elif len(own) > 1:
                raise self._several(os.path.join(top, name), below, own, (stem, bare))
            else:
                found.pairs[stem] = Pair(os.path.join(top, name), os.path.join(below, own[0]))
        _check_each_has_its_own(found.pairs.values())
        self._refuse_unread(top, exact, loose, found)
        return found

    def _images_by_name(self, top: str, split: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return name -> file of the images, and the files passed over with the reason."""
        pattern = pattern_of(self.image_pattern, "image_pattern", split)
        stems: dict[str, str] = {}
        passed_over: dict[str, str] = {}
        for file in files_below(top, all_endings=True):
            stem = None
            if not is_image_file(os.path.basename(file)) and not self.img_suffix:
                ending = os.path.splitext(file)[1]
                passed_over[file] = f"{ending} is not read" if ending else "it has no ending"
            elif self.img_suffix and not file.endswith(self.img_suffix):
                passed_over[file] = f"it does not end in {self.img_suffix}"
            elif pattern is not None:
                stem = pattern.name_in(file)
                if stem is None:
                    passed_over[file] = f"its name is not {pattern.text}"
            else:
                suffix = self.img_suffix
                stem = file.removesuffix(suffix) if suffix else os.path.splitext(file)[0]
            if stem is not None and stem in stems:
                raise DataError(
                    f"{top} holds {stems[stem]} and {file}: two images of one name. Rename one, "
                    "or set img_suffix to the ending of the right ones"
                )
            if stem is not None:
                stems[stem] = file
        return stems, passed_over

    def _masks_by_name(
        self, below: str, split: str
    ) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return the masks by their names, and by what is left of them without known endings."""
        pattern = pattern_of(self.mask_pattern, "mask_pattern", split)
        exact: dict[str, list[str]] = {}
        loose: dict[str, list[str]] = {}
        for name in files_below(below):
            if self.seg_map_suffix is not None:
                if name.endswith(self.seg_map_suffix):
                    exact.setdefault(name.removesuffix(self.seg_map_suffix), []).append(name)
                continue
            if pattern is not None:
                stem = pattern.name_in(name)
                if stem is not None:
                    exact.setdefault(stem, []).append(name)
                continue
            stem = os.path.splitext(name)[0]
            exact.setdefault(stem, []).append(name)
            bare = _MASK_ENDING.sub("", stem)
            if bare != stem:
                loose.setdefault(bare, []).append(name)
        return exact, loose

    def _refuse_unread(
        self,
        top: str,
        exact: Mapping[str, Sequence[str]],
        loose: Mapping[str, Sequence[str]],
        found: _Matched,
    ) -> None:
        """Refuse images of a format that is not read, which have a mask of their own."""
        if self.img_suffix is not None or self.image_pattern is not None:
            return
        unread = [
            file
            for file, reason in found.passed_over.items()
            if reason.endswith("is not read")
            and (stem := os.path.splitext(file)[0]) not in found.pairs
            and (exact.get(stem) or loose.get(stem))
        ]
        if unread:
            known = " ".join(IMAGE_SUFFIXES)
            raise DataError(
                f"files in {top} that are not read, but have a mask ({len(unread)}): "
                f"{_listed(unread)}. Images end in {known}: convert these to PNG or JPEG, or "
                "set img_suffix to the ending of the others to leave these out"
            )

    def _several(
        self, image: str, masks: str, found: Sequence[str], stems: tuple[str, str]
    ) -> DataError:
        stem = stems[0] if found[0].startswith(stems[0]) else stems[1]
        suffixes = [name.removeprefix(stem) for name in found]
        return DataError(
            f"{image} has {len(found)} masks in {masks}: {', '.join(sorted(found)[:_SHOWN])}. "
            f"Set {of_dataset('seg_map_suffix')}={sorted(suffixes)[0]!r}, or what else follows the "
            "image's name in the right ones"
        )

    def _without_mask(self, lonely: Sequence[str], count: int, split: str) -> DataError:
        place = os.path.join(self.root, self.folders[split][1])
        there = [os.path.basename(name) for name in files_below(place, all_endings=True)]
        stem = os.path.splitext(os.path.basename(lonely[0]))[0]
        unread = [n for n in there if n.startswith(stem) and not is_image_file(n)]
        which = f"{len(lonely)} of {count} images have no mask in {place}: {_listed(lonely)}"
        if unread:
            ending = os.path.splitext(unread[0])[1] or "no ending"
            return DataError(
                f"{which}. {unread[0]} is there, but masks of {ending} are not read: save them as "
                f"PNG. Masks end in {' '.join(IMAGE_SUFFIXES)}"
            )
        near = [name for name in there if name.startswith(stem)] or sorted(there)[:2]
        beside = f"it has {', '.join(near[:2])}" if near else f"it holds {endings(place)}"
        found = suggest_patterns(lonely, [n for n in there if is_image_file(n)], split)
        example = found or ("{name}_{split}", "mask_{name}")
        advice = "Set" if found else "Say what other names look like, such as"
        return DataError(
            f"{which}; {beside}. A mask has its image's name, or that and an ending such as _mask. "
            f"{advice} {of_dataset('image_pattern')}='{example[0]}' and "
            f"{of_dataset('mask_pattern')}='{example[1]}'; {of_dataset('missing_masks')}='skip' "
            "leaves images without a mask out"
        )


@dataclass(frozen=True)
class _Matched:
    """Images and masks of two folders, matched by their names.

    Attributes:
        pairs: Name -> pair.
        lonely: Images without a mask.
        passed_over: Files in the folder of images that are not taken -> the reason.
    """

    pairs: dict[str, Pair]
    lonely: list[str]
    passed_over: dict[str, str]


def find_layout(
    root: str, *, img_dir: str | None = None, ann_dir: str | None = None, **options
) -> FolderLayout:
    """Look into a folder.

    Args:
        root: Path of the folder.
        img_dir: The folder of images in it, where its name is none of ``IMAGE_FOLDERS``.
        ann_dir: Folder of masks, likewise.
        **options: Further fields of ``FolderLayout``.

    Raises:
        DataError: The folder is missing or has none of the layouts.
    """
    check_place(root, "data_root", folder=True)
    drawn = {"val_fraction": "fraction", "split_seed": "seed", "draw_by": "by"}
    DrawOptions(**{drawn[key]: value for key, value in options.items() if key in drawn})
    given = ann_dir is not None
    images, masks = _folder(root, img_dir, True), _folder(root, ann_dir, False)
    if images and masks:
        others = _check_beside(root, ".", (images, masks), given)
        folders = _inner_splits(root, images, masks)
        return FolderLayout(root, folders, not_used=others, **options)
    outer: dict[str, tuple[str, str]] = {}
    others = []
    for name in subfolders(root):
        inside = os.path.join(root, name)
        split = next((split for split, names in SPLITS.items() if name.lower() in names), None)
        images = masks = None
        if split:
            images, masks = _folder(inside, img_dir, True), _folder(inside, ann_dir, False)
        if split and images and masks:
            if split in outer:
                raise DataError(
                    f"{root} has {os.path.dirname(outer[split][0])} and {name}, both for {split}: "
                    "put the images of both into one of them"
                )
            others += _check_beside(root, name, (images, masks), given)
            outer[split] = (os.path.join(name, images), os.path.join(name, masks))
        elif files_below(inside, limit=1):
            others.append(name)
    if outer:
        return FolderLayout(root, outer, not_used=others, **options)
    raise DataError(_no_layout(root, img_dir, ann_dir))


def _check_beside(root: str, inside: str, used: tuple[str, str], given: bool) -> list[str]:
    """Return the folders of images beside those that are used, relative to ``root``.

    Args:
        root: Path of the dataset.
        inside: Folder in ``root`` to look into; ``.`` for ``root`` itself.
        used: Names of the folder of images and of that of masks.
        given: Whether the folder of masks was named, not found.

    Raises:
        DataError: The folder of masks was found, and another one pairs up with the images too.
    """
    place = os.path.normpath(os.path.join(root, inside))
    outside = {os.path.normpath(name).split(os.sep)[0] for name in used}
    beside = {n: files_below(os.path.join(place, n)) for n in subfolders(place) if n not in outside}
    beside = {name: files for name, files in beside.items() if files}
    images, masks = used
    doubtful = [] if given else rivals(files_below(os.path.join(place, images)), beside.items())
    if doubtful:
        both = " and ".join(sorted([masks, *doubtful]))
        raise DataError(
            f"{place} has {both}, each of which pairs up with {images}: set "
            f"{of_dataset('ann_dir')} to the one that holds the masks, "
            f"{of_dataset('ann_dir')}={sorted([masks, *doubtful])[0]!r} for example"
        )
    return [os.path.normpath(os.path.join(inside, name)) for name in beside]


def _inner_splits(root: str, images: str, masks: str) -> dict[str, tuple[str, str]]:
    """Return the splits inside a folder of images and one of masks."""
    split_of = {name: split for split, names in SPLITS.items() for name in names}
    found: dict[str, dict[str, str]] = {}
    for top in (images, masks):
        inside = subfolders(os.path.join(root, top))
        found[top] = {split_of[n.lower()]: n for n in inside if n.lower() in split_of}
    if not found[images] and not found[masks]:
        return {"all": (images, masks)}
    for top in (images, masks):
        place = os.path.join(root, top)
        loose = [n for n in os.listdir(place) if is_image_file(n)]
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
    """Return the folder of images or masks below ``root``; None where there is none.

    Raises:
        DataError: Several could be meant.
    """
    option, known = ("img_dir", IMAGE_FOLDERS) if of_images else ("ann_dir", MASK_FOLDERS)
    if given is not None:
        return given if os.path.isdir(os.path.join(root, given)) else None
    found = [name for name in subfolders(root) if name.lower() in known]
    # COCO's and VOC's annotations may lie there as well: a folder without images is none.
    found = [n for n in found if len(found) == 1 or files_below(os.path.join(root, n), limit=1)]
    if len(found) > 1:
        raise DataError(
            f"{root} has {' and '.join(sorted(found))}, each of which could hold the "
            f"{'images' if of_images else 'masks'}: set "
            f"{of_dataset(option)}={sorted(found)[0]!r} or the other"
        )
    return found[0] if found else None


def _no_layout(root: str, img_dir: str | None, ann_dir: str | None) -> str:
    there = subfolders(root)
    listed = ", ".join(f"{name}/" for name in there[:8]) or f"no folder, but {endings(root)}"
    for option, given in (("img_dir", img_dir), ("ann_dir", ann_dir)):
        if given is not None and not os.path.isdir(os.path.join(root, given)):
            hint = did_you_mean(given, there)
            return f"{of_dataset(option)}={given!r}: {root} has no such folder.{hint}"
    for name in there:
        deeper = os.path.join(root, name)
        if _folder(deeper, img_dir, True) and _folder(deeper, ann_dir, False):
            word = word_of("data_root", root)
            return f"{root} holds no images and masks, but {deeper} does: set {word} to it"
    return (
        f"{root} has none of the known layouts; it holds {listed}. Put images into images/ and "
        "masks of the same names into masks/, each with train/ and val/ inside if you want to say "
        f"which is which, or name your folders with {of_dataset('img_dir')}= and "
        f"{of_dataset('ann_dir')}="
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


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
