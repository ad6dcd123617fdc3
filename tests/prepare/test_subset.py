"""Promise: a part of a dataset is the same each time, holds smaller ones, shows rare classes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mmattn.errors import ConfigError
from mmattn.prepare import Wishes, prepare
from mmattn.prepare.subset import Subset, parse_subset

NAMES = [f"image_{index}" for index in range(300)]


def test_the_same_each_time_and_one_inside_the_other() -> None:
    small, large = (Subset(f"{s:%}", share=s).choose(NAMES) for s in (0.05, 0.2))
    assert (len(small), len(large)) == (15, 60)
    assert set(small) < set(large)
    assert small == Subset("", count=15).choose(reversed(NAMES))
    # Fixed, so that another version or machine cannot choose others unseen.
    assert Subset("", count=3).choose(NAMES) == FIRST
    assert large != NAMES[:60]


FIRST = ["image_251", "image_261", "image_28"]


def test_rare_classes_come_in() -> None:
    classes = {name: {0} | ({1} if index % 50 == 0 else set()) for index, name in enumerate(NAMES)}
    classes |= {f"empty_{index}": set() for index in range(20)}
    chosen = Subset("", count=12).choose_balanced(classes)
    shown = Counter(label for name in chosen for label in classes[name])
    assert len(chosen) == 12 and shown[1] == 6  # all there are; 6 of 300 by chance would be 0.24
    assert not any(name.startswith("empty") for name in chosen)
    assert chosen == Subset("", count=12).choose_balanced(dict(reversed(classes.items())))
    everything = Subset("", count=10**6).choose_balanced(classes)
    assert everything == sorted(classes)


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "1.5", "all", "", "%"])
def test_words_that_are_no_part(text: str) -> None:
    with pytest.raises(ConfigError, match="1%"):
        parse_subset(text)


def test_words_that_are() -> None:
    assert parse_subset(None) is parse_subset("100%") is None
    assert parse_subset("0.5%") == Subset("0.5%", share=0.005)
    assert parse_subset("200") == Subset("200", count=200)
    assert Subset("", share=0.01).size(50) == 1 and Subset("", count=9).size(4) == 4


def test_coco_is_cut_to_the_same_images_everywhere(archives: Callable, tmp_path: Path) -> None:
    wishes = Wishes((archives("coco2017"),), parse_subset("50%"), accept_terms=True)
    root = tmp_path / "d"
    record = prepare("coco2017", root, wishes, say=lambda line: None)
    assert record.subset == "50%" and record.splits["train"]["images"] == 3
    images = {path.stem for path in (root / "train2017").iterdir()}
    assert {"000000000004", "000000000008"} <= images  # those with cars
    assert images == {p.stem for p in (root / "annotations/panoptic_train2017").iterdir()}
    for kind in ("instances", "panoptic"):
        content = json.loads((root / f"annotations/{kind}_train2017.json").read_text())
        assert {Path(image["file_name"]).stem for image in content["images"]} == images
        assert {item["image_id"] for item in content["annotations"]} == set(map(int, images))
        assert len(content["categories"]) == 3
