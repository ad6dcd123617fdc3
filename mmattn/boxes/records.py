"""Records that every annotation format is read into: images, their objects, what was found odd."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: Number of places that a sentence names; a report in JSON has all of them.
SHOWN = 3


class Place(NamedTuple):
    """Where something is wrong.

    Attributes:
        file: Path of the annotation file or image.
        item: What it is in that file: ``annotation 17``, ``object 3``, ``line 2``; may be empty.
        value: What stands there, in words; may be empty.
    """

    file: str
    item: str = ""
    value: str = ""

    def __str__(self) -> str:
        return f"{self.file} ({self.item})" if self.item else self.file


@dataclass(frozen=True)
class Finding:
    """Something odd about a dataset that does not stop its use.

    Attributes:
        check: Short name of the check, for programs: ``no-area``.
        text: Sentence without the places and their number.
        places: Every place it was found at.
        shown: Number of places that the sentence names; 0 leaves them out.
        fix: What to do about it, in a sentence; may be empty.
    """

    check: str
    text: str
    places: tuple[Place, ...] = ()
    shown: int = SHOWN
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        places = [place._asdict() for place in self.places]
        return {"check": self.check, "text": self.text, "fix": self.fix, "places": places}

    def __str__(self) -> str:
        if not self.places or not self.shown:
            return self.text
        return f"{self.text} ({len(self.places)}): {listed(self.places, self.shown)}"


class BoxObject(NamedTuple):
    """One annotated object.

    Attributes:
        name: Name of its class.
        box: x1, y1, x2, y2 in pixels.
        stored: Numbers of the box as the file has them.
        item: Which one it is in its file, used in messages.
        crowd: Whether losses and metrics leave it out: COCO's crowds, VOC's difficult objects.
        mask: COCO's polygons, or run lengths; None where there is none.
        area: Area in pixels where the file states it; that of the box otherwise.
        segment: Id of its pixels in a panoptic map.
    """

    name: str
    box: tuple[float, float, float, float]
    stored: Sequence[float]
    item: str
    crowd: bool = False
    mask: Any = None
    area: float | None = None
    segment: int | None = None


@dataclass(frozen=True)
class BoxImage:
    """One image with its objects.

    Attributes:
        path: Path of the image.
        name: Name without ending, by which a validation split is drawn.
        image_id: Id that results are reported under.
        size: Height and width in pixels, after the image was turned as EXIF says.
        source: Path of the file that holds its objects.
        objects: Its objects.
        map_path: Path of its panoptic map.
        left_segments: Ids of the segments of that map that are not used.
    """

    path: str
    name: str
    image_id: int
    size: tuple[int, int]
    source: str
    objects: tuple[BoxObject, ...] = ()
    map_path: str | None = None
    left_segments: tuple[int, ...] = ()


@dataclass(frozen=True)
class BoxRecords:
    """Images and classes of one annotation file, or of one folder of them.

    Attributes:
        images: Images in the order of their ids or names.
        names: Names of the classes, in the order of the file.
        box_format: How the format writes a box, used in messages.
        things: Names of the classes that are counted; None where the format does not tell.
        notes: What was found out, in short sentences.
        findings: What is odd but does not stop its use.
        left_out: Objects that are not used.
    """

    images: tuple[BoxImage, ...]
    names: tuple[str, ...]
    box_format: str
    things: frozenset[str] | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    left_out: tuple[LeftOutObject, ...] = ()


class LeftOutObject(NamedTuple):
    """An object that is not used, for the counts.

    Attributes:
        item: The object.
        size: Height and width of its image.
        source: Path of its file.
    """

    item: BoxObject
    size: tuple[int, int]
    source: str


@dataclass(frozen=True)
class ReadOptions:
    """Settings of the readers.

    Attributes:
        missing_images: ``error`` for annotations of images that are not there, or ``skip`` them.
        bad_objects: ``error`` for objects that cannot be meant so (no numbers, negative sizes,
            shares above 1), or ``skip`` them.
        masks: Whether each object must have a mask.
        voc_offset: The number of an image's first pixel in Pascal VOC's files, 0 or 1.
        allow_outside: Whether files may lie outside of the folder.
    """

    missing_images: str = "error"
    bad_objects: str = "error"
    masks: bool = False
    voc_offset: int = 0
    allow_outside: bool = False


@dataclass
class Tally:
    """Places by what is odd there, filled while a reader goes through its files."""

    places: dict[str, list[Place]] = field(default_factory=dict)

    def add(self, check: str, place: Place) -> None:
        """Note one more place."""
        self.places.setdefault(check, []).append(place)

    def findings(
        self, texts: Mapping[str, str], fixes: Mapping[str, str] | None = None
    ) -> tuple[Finding, ...]:
        """Return one finding for each check that has a place.

        Args:
            texts: Check -> sentence about all places.
            fixes: Check -> what to do about it.
        """
        return tuple(
            Finding(check, text, tuple(self.places[check]), fix=(fixes or {}).get(check, ""))
            for check, text in texts.items()
            if self.places.get(check)
        )


def listed(places: Iterable[Place | str], limit: int = SHOWN) -> str:
    """Return the first places in words, and how many more there are."""
    places = list(places)
    more = f", and {len(places) - limit} more" if len(places) > limit else ""
    return ", ".join(map(str, places[:limit])) + more
