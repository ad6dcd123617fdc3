"""Find the images that annotations name, wherever below a folder they lie."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence

from mmattn.data.confine import refuse_outside
from mmattn.data.folder.layout import IMAGE_FOLDERS
from mmattn.data.folder.listing import files_below
from mmattn.data.folder.patterns import SPLITS
from mmattn.errors import DataError, did_you_mean

#: Beginnings of folders that hold maps or masks, not the images themselves.
_NOT_IMAGES = re.compile(
    r"(?:panoptic|stuff|mask|seg|label|annot|ann_dir|gt|depth|instance)", re.IGNORECASE
)


def split_in(name: str) -> str | None:
    """Return the split that a name of a file or folder speaks of.

    >>> split_in("instances_train2017.json"), split_in("valid"), split_in("cells")
    ('train', 'val', None)
    """
    words = re.split(r"[^a-z]+", name.lower())
    for split, spellings in SPLITS.items():
        if any(word in spellings for word in words):
            return split
    return "trainval" if "trainval" in words else None


def split_of_folder(path: str) -> str | None:
    """Return the split that the folders of a path speak of, the innermost first."""
    parts = path.split("/")[:-1]
    return next((split for part in reversed(parts) if (split := split_in(part))), None)


class ImagePlaces:
    """All images below a folder, by their names.

    Args:
        root: Path of the folder.
        img_dir: The folder in ``root`` that holds the images; by default any may.
        allow_outside: Whether images may lie outside of ``root``.

    Raises:
        DataError: ``img_dir`` does not exist.
    """

    def __init__(
        self, root: str, img_dir: str | None = None, *, allow_outside: bool = False
    ) -> None:
        self.root, self.allow_outside = root, allow_outside
        self.top = os.path.join(root, img_dir) if img_dir else root
        self.img_dir = img_dir
        if not os.path.isdir(self.top):
            beside = os.listdir(root) if os.path.isdir(root) else []
            raise DataError(
                f"data.img_dir={img_dir!r}: {root} has no such folder."
                f"{did_you_mean(str(img_dir), beside)}"
            )
        self.files = files_below(self.top)
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for file in self.files:
            base = os.path.basename(file)
            self._by_name.setdefault(base, []).append(file)
            self._by_stem.setdefault(os.path.splitext(base)[0], []).append(file)

    def find(self, names: Sequence[str], split: str, *, stems: bool = False) -> list[str | None]:
        """Return the path of each image, None for those that are not there.

        Args:
            names: Names as the annotations have them, with or without folders.
            split: The split, which decides between equal folders of train and val.
            stems: Names have no ending.

        Raises:
            DataError: Images of these names lie in two folders, and nothing says which are meant,
                or outside of the folder.
        """
        wanted = [_plain(name) for name in names]
        found = [self._matches(name, stems) for name in wanted]
        prefixes = Counter(
            prefix
            for name, files in zip(wanted, found, strict=True)
            for prefix in {_prefix(file, name, stems) for file in files}
        )
        there = sum(map(bool, found))
        best = self._best([p for p, count in prefixes.items() if count == there], split)
        result: list[str | None] = []
        for name, files in zip(wanted, found, strict=True):
            if best is not None:
                files = [file for file in files if _prefix(file, name, stems) == best]
            if len(files) > 1:
                raise self._several(name, files)
            path = os.path.join(self.top, files[0]) if files else None
            if path is None and os.path.isabs(name) and os.path.exists(name):
                path = name
            result.append(path)
        if not self.allow_outside:
            there = [path for path in result if path is not None]
            refuse_outside(there, [self.root, self.top], f"the annotations of {split}", "images")
        return result

    def _matches(self, name: str, stems: bool) -> list[str]:
        """Return the files that end in a name; a name of another machine's folders matches last."""
        table = self._by_stem if stems else self._by_name
        files = table.get(os.path.basename(name), [])
        exact = [f for f in files if f"/{_key(f, stems)}".endswith(f"/{name}")]
        return exact or (files if "/" in name else [])

    def _best(self, prefixes: Sequence[str], split: str) -> str | None:
        """Return the folder that is meant; None where no single one holds all images.

        Raises:
            DataError: Two are equally likely.
        """
        if len(prefixes) < 2:
            return prefixes[0] if prefixes else None

        def score(prefix: str) -> tuple[bool, bool, bool]:
            parts = [part for part in prefix.split("/") if part]
            return (
                not any(_NOT_IMAGES.match(part) for part in parts),
                any(split_in(part) == split for part in parts),
                any(part.lower() in IMAGE_FOLDERS for part in parts),
            )

        ranked = sorted(prefixes, key=score, reverse=True)
        if score(ranked[0]) > score(ranked[1]):
            return ranked[0]
        both = " and ".join(repr(p.rstrip("/") or ".") for p in sorted(ranked[:2]))
        raise DataError(
            f"{self.top}: the folders {both} both hold images of the names that the annotations "
            f"have. Set data.img_dir={sorted(ranked[:2])[0].rstrip('/') or '.'} or the other"
        )

    def _several(self, name: str, files: Sequence[str]) -> DataError:
        both = ", ".join(sorted(files)[:SHOWN_FILES])
        stems = {os.path.dirname(file) for file in files}
        fix = (
            "Rename or remove one of them"
            if len(stems) == 1
            else f"Set data.img_dir={sorted(stems)[0] or '.'} or another"
        )
        return DataError(f"{self.top}: {name!r} could be any of {both}. {fix}")


#: Number of files that a message names.
SHOWN_FILES = 5


def _plain(name: str) -> str:
    """Return a name with forward slashes, without what leads to the folder itself."""
    name = name.strip().replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _key(file: str, stems: bool) -> str:
    return os.path.splitext(file)[0] if stems else file


def _prefix(file: str, name: str, stems: bool) -> str:
    """Return what stands before a name in the path of its file."""
    key = _key(file, stems)
    if f"/{key}".endswith(f"/{name}"):
        return key[: len(key) - len(name)]
    return key[: len(key) - len(os.path.basename(name))]


def missing_images(names: Sequence[str], source: str, top: str, count: int) -> DataError:
    """Return the error for annotations of images that are not there.

    Args:
        names: Names of these images.
        source: Path of the file or folder that names them.
        top: Folder that was searched.
        count: Number of all images that it names.
    """
    shown = ", ".join(names[:SHOWN_FILES]) + (", ..." if len(names) > SHOWN_FILES else "")
    return DataError(
        f"{source}: {len(names)} of {count} images that it names are not below {top}: {shown}. "
        "Put them there, set data.img_dir to their folder, or leave them out with "
        "data.missing_images=skip"
    )
