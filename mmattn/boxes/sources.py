"""Where the annotations of each split lie, whatever their format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mmattn.errors import DataError

from .records import listed
from .yolo import YoloClasses

#: Format -> its name in messages.
FORMS = {"coco": "COCO JSON", "voc": "Pascal VOC", "yolo": "YOLO text"}


@dataclass(frozen=True)
class Source:
    """The annotations of one split.

    Attributes:
        place: Where they lie, in words.
        files: Paths of the annotation files: one of COCO, or VOC's XML files.
        pairs: YOLO's images: path, path of the label file (None without), name without ending.
    """

    place: str
    files: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str | None, str], ...] = ()

    def read_files(self) -> Iterable[str]:
        """Return the paths of all files that its reading depends on."""
        # YOLO's boxes are shares of the images, whose sizes are read.
        return self.files or (path for pair in self.pairs for path in pair[:2] if path)


@dataclass(frozen=True)
class BoxLayout:
    """The format of a folder and the annotations of each split, as recognised by looking.

    Attributes:
        form: ``coco``, ``voc`` or ``yolo``.
        root: Folder below which the images are looked for.
        sources: Split -> its annotations; the one key is ``"all"`` where there are no splits.
        classes: Names by class number, of YOLO.
        names: Names of the classes in the order of a file of names; empty where there is none.
        notes: What was found out, in short sentences.
        names_file: Path of the file of ``names``.
    """

    form: str
    root: str
    sources: Mapping[str, Source]
    classes: YoloClasses | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    names_file: str = ""

    @property
    def drawn(self) -> str | None:
        """The split, or ``"all"``, that ``val`` is drawn from; None where ``val`` is there."""
        if "val" in self.sources or ("test" in self.sources and "train" not in self.sources):
            return None
        return "train" if "train" in self.sources else "all"


def named_splits(found: Mapping[str, Source]) -> tuple[dict[str, Source], list[str]]:
    """Return the splits under the names of train, val and test, and notes.

    VOC's ``trainval`` stands for ``train`` where that is missing. Annotations of no split, beside
    others of a split, are not used.
    """
    sources, notes = dict(found), []
    both = sources.pop("trainval", None)
    if both is not None:
        if "train" in sources:
            notes.append(f"not used: {both.place} (train and val of it have their own)")
        else:
            sources["train"] = both
    if len(sources) > 1 and "all" in sources:
        spare = sources.pop("all").place
        free = [split for split in ("val", "test", "train") if split not in sources]
        hint = f"; if it is one, call it {free[0]}" if free else ""
        notes.append(f"not used: {spare}, which is of no split{hint}")
    return sources, notes


def refuse_twins(files: Iterable[str], where: str, option: str) -> dict[str, str]:
    """Return stem -> file; refuse two annotation files of one image.

    Raises:
        DataError: Two files have one name.
    """
    found: dict[str, str] = {}
    for file in files:
        stem = file.rpartition("/")[2].rpartition(".")[0]
        if stem in found:
            folders = sorted({f.rpartition("/")[0] or "." for f in (found[stem], file)})
            fix = (
                f"set data.{option}={folders[0]} or the other" if len(folders) > 1 else "remove one"
            )
            raise DataError(f"{where}: {found[stem]} and {file} are of one image: {fix}")
        found[stem] = file
    return found


def lines_once(path: str) -> list[str]:
    """Return the lines of a list of images, each of them once.

    Raises:
        DataError: It cannot be read, is empty, or names an image twice.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}") from error
    seen: dict[str, int] = {}
    twice = []
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name and name in seen:
            twice.append(f"{name} (lines {seen[name]} and {number})")
        elif name:
            seen[name] = number
    if twice:
        raise DataError(
            f"{path} lists {len(twice)} images twice: {listed(twice)}. Remove the second lines"
        )
    return list(seen)
