"""The format of a folder's masks, which turns them into labels, found from what they hold.

============  ==================================================================================
``index``     one channel (or three equal ones): the value is looked up among the classes'
              values; 255, and 65535 in 16-bit masks, means "not labelled" unless a class has it
``binary``    one channel: the lower half of the range is class 0, the upper half class 1;
              where ``auto`` chose it, 0 and the one other value, 255 in 16-bit masks as well
``rgb``       colours: each is looked up among the classes' colours
``alpha``     the alpha channel: below 128 is class 0, the rest class 1
``auto``      the first of these that is certain; what is not certain is refused
============  ==================================================================================

``auto`` decides once for the whole folder: colours in ``classes.json`` mean ``rgb`` if masks have
them; masks of 0 and 255 alone mean ``binary`` if there are two classes, or none yet; everything
else with one channel means ``index``. A palette PNG holds indices, its colours are for viewing,
unless only its colours are those of ``classes.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from mmattn.errors import DataError
from mmattn.given_words import of_dataset

from .classes_file import IGNORED, MOST_CLASSES, FolderClasses
from .survey import MaskSurvey

BACKGROUND_AND_FOREGROUND = ("background", "foreground")
_SHOWN = 12


def choose_format(survey: MaskSurvey, classes: FolderClasses | None, root: str) -> tuple[str, str]:
    """Decide what ``mask_format="auto"`` means.

    Args:
        survey: Survey of the masks.
        classes: Classes of ``classes.json``; None without this file.
        root: Path of the folder, used in messages.

    Returns:
        The format and the reason for it.

    Raises:
        DataError: It is not certain what the masks mean; the message says what to write.
    """
    key = of_dataset("mask_format")
    if survey.see_through is not None:
        raise DataError(
            f"the mask {survey.see_through} is transparent in places. Set {key}=alpha if "
            f"what is opaque is the object, or {key}=rgb (index) to look at the colours "
            "(values) alone"
        )
    if survey.lossy is not None:
        raise DataError(
            f"the mask {survey.lossy} is a JPEG, which changes values a little everywhere. Export "
            f"masks as PNG; or, if they are black and white, set {key}=binary"
        )
    if survey.coloured is not None:
        if classes is None or classes.colours is None:
            raise DataError(_needs_colours(survey, classes, root))
        return "rgb", "the masks are colour-coded"
    if classes is not None and classes.colours is not None:
        return _values_or_colours(survey, classes)
    if classes is not None and not classes.by_position:
        return "index", f"{classes.source} states the values"
    count = None if classes is None else len(classes.names)
    if count in (None, 2):
        _refuse_few_grey(survey)
    if survey.white is not None:
        if count not in (None, 2):
            white = survey.white
            raise DataError(
                f"the masks hold 0 and {white} only, such as {survey.values[white]}, but "
                f"{classes.source} names {count} classes ({', '.join(classes.names[:5])}). A black "
                f"and white mask needs two names, such as {_two_names(classes.names)}; if "
                f"{white} is not labelled, set {key}=index; if it is one of the classes, "
                f'write the values, {{"0": "{classes.names[0]}", "{white}": ...}}'
            )
        return "binary", f"the masks hold 0 and {survey.white} only"
    return "index", "the masks have one channel"


def _refuse_few_grey(survey: MaskSurvey) -> None:
    """Refuse a few masks with greys among many that are black and white."""
    key = of_dataset("mask_format")
    for white in (255, 65535):
        odd, plain = survey.odd_ones((0, white))
        total = plain + len(odd)
        whites = any(white in held and held <= {0, white} for held in survey.contents)
        if odd and whites and 2 * plain >= total:
            held = next(h for h, paths in survey.contents.items() if odd[0] in paths)
            others = sorted(held - {0, white})
            listed = ", ".join(map(str, others[: _SHOWN // 2]))
            more = ", ..." if len(others) > _SHOWN // 2 else ""
            half = 128 if white == 255 else 32768
            which = odd[0] if len(odd) == 1 else f"{len(odd)} masks such as {odd[0]}"
            raise DataError(
                f"{plain} of {total} masks hold 0 and {white} only; {which} "
                f"{'does' if len(odd) == 1 else 'do'} not, but {listed}{more} as well (resized "
                "smoothly, or compressed?). Export it anew, resized by nearest neighbour; or set "
                f"{key}=binary, which makes {half} and more the second class in all masks"
            )


def _two_names(names: Sequence[str]) -> str:
    """Return two names to suggest for black and white masks, as JSON."""
    background, foreground = BACKGROUND_AND_FOREGROUND
    own = [name for name in names if name.casefold() not in (background, "bg", "back")]
    return json.dumps([background, own[0] if own else foreground], ensure_ascii=False)


def check_halves(survey: MaskSurvey, root: str) -> None:
    """Refuse ``mask_format=binary`` where the upper half of the range is empty.

    Raises:
        DataError: No mask holds a value there.
    """
    if survey.values and not survey.upper_half:
        held = ", ".join(map(str, sorted(survey.values)[:_SHOWN]))
        half = 32768 if survey.deep else 128
        key = of_dataset("mask_format")
        raise DataError(
            f"the masks of {root} hold {held}: mask_format=binary starts the second class at "
            f"{half}, so all is the first one. Set {key}=auto, or {key}=index if these "
            "values are the classes"
        )


def _values_or_colours(survey: MaskSurvey, classes: FolderClasses) -> tuple[str, str]:
    """Decide whether masks of one channel hold places in the list of classes or colours."""
    by_value = {value: classes.values.get(value) for value in survey.labelled_values}
    by_colour = {
        value: {classes.colours.get(colour) for colour in colours}
        for value, colours in survey.shown.items()
    }
    index = None not in by_value.values()
    rgb = not any(None in labels for labels in by_colour.values())
    if index and not (rgb and any(by_colour[v] != {label} for v, label in by_value.items())):
        return "index", "the masks' values are places in the list of classes"
    if rgb and not index:
        return "rgb", "the masks' " + ("palettes" if survey.palettes else "greys") + " are colours"
    listed = ", ".join(map(str, survey.labelled_values[:_SHOWN]))
    if index:
        key = of_dataset("mask_format")
        raise DataError(
            f"the masks hold {listed}, which are places in {classes.source} and show, as colours, "
            f"classes in another order. Set {key}=index if the values count, or "
            f"{key}=rgb if the colours do"
        )
    value = next(v for v, labels in by_colour.items() if None in labels)
    raise DataError(
        f"the mask {survey.values[value]} holds the value {value}, which shows as "
        f"{sorted(survey.shown[value])[0]}: neither a place among the {len(classes.names)} classes "
        f"of {classes.source} nor one of their colours. Add it there"
    )


def _needs_colours(survey: MaskSurvey, classes: FolderClasses | None, root: str) -> str:
    key, colours = of_dataset("mask_format"), sorted(survey.colours)
    if len(colours) > MOST_CLASSES:
        return (
            f"the mask {survey.colours[colours[0]]} has more colours than there can be classes "
            f"({len(colours)} in the masks looked at): a photograph, or a mask that was resized "
            "smoothly or compressed with losses. Export the masks anew, as PNG"
        )
    names = () if classes is None else classes.names
    shown = {
        (names[i] if i < len(names) else f"class {i}"): list(colour)
        for i, colour in enumerate(colours[:_SHOWN])
    }
    more = f" (the first {_SHOWN} are below)" if len(colours) > _SHOWN else ""
    source = f"{root}/classes.json" if classes is None else classes.source
    return (
        f"the masks, such as {survey.coloured}, are colour-coded with {len(colours)} colours"
        f"{more}, and no class has a colour. Write the names into {source}:\n"
        f"{json.dumps(shown)}\n"
        f'A class called "ignore" is left out. If the colours mean nothing, {key}=index needs '
        "masks with one channel"
    )


def classes_from_masks(
    survey: MaskSurvey, mask_format: str, root: str, *, reduce_zero_label: bool = False
) -> FolderClasses:
    """Return the classes where no file names them.

    Args:
        survey: Survey of all masks.
        mask_format: Format of the masks.
        root: Path of the folder, used in messages.
        reduce_zero_label: Whether 0 is no class, so that they count from 1.

    Raises:
        DataError: The values leave gaps, or are colours.
    """
    source = f"the masks of {root}"
    if mask_format in ("binary", "alpha"):
        return FolderClasses(BACKGROUND_AND_FOREGROUND, {0: 0, 1: 1}, source)
    if mask_format == "rgb":
        raise DataError(
            f"mask_format=rgb needs {root}/classes.json with the colours: "
            '{"road": [128, 64, 128], "car": [0, 0, 142]}'
        )
    values = survey.labelled_values
    first = 1 if reduce_zero_label else 0
    found = [value for value in values if value >= first]
    if found != list(range(first, first + len(found))) or len(found) > MOST_CLASSES:
        raise DataError(_gaps(found, survey, root))
    if len(found) < 2:
        if reduce_zero_label and set(survey.values) - {0, IGNORED}:
            raise DataError(
                f"with reduce_zero_label=True the masks of {root} have one class left, and one "
                "class is nothing to learn. Leave it out, so that 0 is the other class"
            )
        held = ", ".join(map(str, sorted(survey.values)))
        raise DataError(
            f"all {survey.looked_at} masks of {root} hold {held} only: there is nothing to tell "
            f"apart. If one of these is a class, name them in {root}/classes.json"
        )
    # With reduce_zero_label the reader takes one off before it looks a value up.
    names = tuple(f"class {value}" for value in found)
    return FolderClasses(
        names,
        {label: label for label in range(len(names))},
        source,
        palette=None if reduce_zero_label else _palette(survey, len(names)),
    )


def _gaps(found: Sequence[int], survey: MaskSurvey, root: str) -> str:
    few = survey.most_hold()
    if few is not None:
        usual, odd = few
        total = sum(map(len, survey.contents.values()))
        held = next(h for h, paths in survey.contents.items() if odd[0] in paths)
        listed = ", ".join(map(str, sorted(usual)[:_SHOWN]))
        which = odd[0] if len(odd) == 1 else f"{len(odd)} masks such as {odd[0]}"
        return (
            f"{total - len(odd)} of the {total} masks of {root} hold {listed} only; {which} "
            f"{'does' if len(odd) == 1 else 'do'} not, but {len(held - usual)} further values, as "
            "after smooth resizing or lossy compression. Export it anew, resized by nearest "
            "neighbour; or write classes.json and set unknown_values=ignore, which leaves such "
            "pixels out"
        )
    shown = {str(value): f"class {value}" for value in found[:_SHOWN]}
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    stretched = ""
    step = int(np.gcd.reduce(found)) if found else 0
    if step > 1 and len(found) > 2:
        stretched = f" They are multiples of {step}: a mask stretched for viewing?"
    if len(found) > MOST_CLASSES:
        return (
            f"the masks of {root} hold {len(found)} values, such as {found[-1]} in "
            f"{survey.values[found[-1]]}; {MOST_CLASSES} classes can be. Are these ids of objects? "
            "A semantic mask holds the class of each pixel"
        )
    return (
        f"the masks of {root} hold {', '.join(map(str, found[:_SHOWN]))}{more}, which is no count "
        f"from 0 on ({found[-1]} is in {survey.values[found[-1]]}).{stretched} Say what they mean "
        f"in {root}/classes.json:\n{json.dumps(shown)}\n"
        f'A class called "ignore" is left out, as {IGNORED} is'
    )


def _palette(survey: MaskSurvey, count: int) -> list | None:
    """Return the colours of palette masks, if they have one for each class."""
    shown = [sorted(survey.shown[value]) for value in range(count)]
    colours = [found[0] for found in shown if len(found) == 1]
    return colours if survey.palettes and len(set(colours)) == count else None
