"""ADE20K as the scene parsing benchmark has it: SceneParse150."""

from __future__ import annotations

from mmattn.prepare.card import DatasetCard, Split
from mmattn.prepare.source_file import SourceFile
from mmattn.prepare.stage import Stage

_FILE = SourceFile(
    "ADEChallengeData2016.zip",
    (
        "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    ),
    size=967382037,
    digests=(
        "sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
        "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
    ),
    top="ADEChallengeData2016",
    holds=("images/training/*.jpg", "annotations/training/*.png", "annotations/validation/*.png"),
)
_SPLITS = ("training", "validation")


def _arrange(stage: Stage) -> None:
    archive = _FILE.name
    for split in _SPLITS:
        images, masks = f"images/{split}/", f"annotations/{split}/"
        names = stage.names(archive, images, ".jpg")
        if stage.subset:
            names = stage.subset.choose(names)
        stage.put(archive, {name: name for name in names})
        wanted = [name.replace(images, masks).replace(".jpg", ".png") for name in names]
        stage.put(archive, {name: name for name in wanted})
    texts = [name for name in stage.names(archive, "", ".txt") if "/" not in name]
    stage.put(archive, {name: name for name in texts})


ADE20K = DatasetCard(
    name="ade20k",
    title="ADE20K, SceneParse150",
    task="semantic segmentation of scenes",
    classes=150,
    terms="annotations BSD-3-Clause; the images are for non-commercial research and education",
    terms_url="https://ade20k.csail.mit.edu/terms/",
    home="http://sceneparsing.csail.mit.edu/",
    files=(_FILE,),
    splits=tuple(
        Split(name, f"images/{name}", count, f"annotations/{name}")
        for name, count in zip(_SPLITS, (20210, 2000), strict=True)
    ),
    arrange=_arrange,
    labels=frozenset(range(151)),
    configs="mmattn::ccnet/ccnet_r101-d8_4xb4-160k_ade20k-512x512.py",
    default_root="data/ade/ADEChallengeData2016",
    notes=(
        "masks keep 0 for what is no class; the configs take it away (reduce_zero_label=True)",
        "semantic masks alone; those of instances are another archive, with mmdet's converter",
    ),
)
