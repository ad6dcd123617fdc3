"""The draw of a validation split: sub-folders stay whole, and nothing else decides but names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.boxes import BoxFolder
from mmattn.data.folder.draw import DrawOptions, draw, draw_val
from mmattn.data.folder.layout import find_layout
from mmattn.errors import ConfigError
from tests.support.box_folders import write_image


def drawn(files: list[str], root: str = "/d", **options) -> set[str]:
    """Return the files that are drawn of files below ``root``."""
    names = [file.rpartition(".")[0] for file in files]
    made = draw_val(names, [f"{root}/{file}" for file in files], DrawOptions(**options))
    return {file for file, is_val in zip(files, made.val, strict=True) if is_val}


def patients(count: int, images: int) -> list[str]:
    return [f"patient{p}/{i:02}.png" for p in range(count) for i in range(images)]


def test_a_sub_folder_stays_on_one_side() -> None:
    files = patients(10, 7)
    for seed in range(5):
        val = drawn(files, seed=seed)
        folders = {file.split("/")[0] for file in val}
        assert val == {file for file in files if file.split("/")[0] in folders}
        assert 0 < len(val) <= len(files) / 2


def test_the_first_folder_below_what_all_share_is_drawn() -> None:
    """One series of a patient in training and another in validation would leak as well."""
    files = [f"all/p{p}/series{s}/{i}.png" for p in range(4) for s in range(3) for i in range(2)]
    val = drawn(files)
    assert len({file.split("/")[1] for file in val}) == len(val) / 6


def test_neither_place_nor_further_images_move_a_sub_folder() -> None:
    files = patients(12, 3)
    val = drawn(files)
    assert drawn(files, root="/another/place") == val
    assert drawn([*files, "patient3/99.png", "patient99/1.png"]) & set(files) == val


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4])
def test_the_share_is_the_nearest_that_whole_sub_folders_give(fraction: float) -> None:
    """By the hashes alone two of five patients, 40 %, were drawn where a fifth was asked for."""
    for seed in range(20):
        assert len(drawn(patients(5, 10), fraction=fraction, seed=seed)) == max(50 * fraction, 10)
    uneven = [f"p{p}/{i}.png" for p, size in enumerate((40, 9, 8, 22, 21)) for i in range(size)]
    for seed in range(20):
        assert abs(len(drawn(uneven, fraction=fraction, seed=seed)) - 100 * fraction) <= 11


def test_a_share_that_cannot_be_had_is_said() -> None:
    files = patients(2, 10)
    made = draw_val([f[:-4] for f in files], files, DrawOptions())
    assert "10 of 20 images, 50%, where whole sub-folders do not give 20%" in made.text


@pytest.mark.parametrize("large", ["a", "b", "c"])
def test_the_largest_sub_folder_is_for_training(large: str) -> None:
    files = [f"{f}/{i}.png" for f in "abc" for i in range(97 if f == large else 2)]
    for seed in range(6):
        assert 0 < len(drawn(files, seed=seed)) <= 4


def test_loose_images_are_drawn_one_by_one_as_before() -> None:
    files = [f"{i:03}.png" for i in range(60)]
    assert {f.removesuffix(".png") for f in drawn(files)} == draw([f[:-4] for f in files], 0.2, 0)
    mixed = drawn([*files, *(f"film/{i}.png" for i in range(9))])
    assert len({file for file in mixed if file.startswith("film/")}) in (0, 9)
    assert 0 < len(mixed - {f"film/{i}.png" for i in range(9)}) < 60


def test_sub_folders_named_after_classes_are_not_drawn() -> None:
    """A drawn one would leave its class without an image to learn from."""
    files = [f"{name}/{i}.jpg" for name in ("Sea_lion", "cat") for i in range(30)]
    names = [file[:-4] for file in files]
    made = draw_val(names, files, DrawOptions(), ("cat", "sea lion", "dog"))
    assert {f.split("/")[0] for f, val in zip(files, made.val, strict=True) if val} == {
        "Sea_lion",
        "cat",
    }
    assert "image by image since the sub-folders are named after classes" in made.text


def test_the_text_says_what_was_drawn() -> None:
    files = patients(10, 7)
    made = draw_val([f[:-4] for f in files], files, DrawOptions())
    count = sum(made.val)
    assert f"by sub-folder: 2 of 10 are val, with {count} of 70 images, 20%;" in made.text
    single = draw_val([f[:-4] for f in files], files, DrawOptions(by="image"))
    assert single.text == "val_fraction 0.2, split_seed 0, image by image"
    assert 0 < sum(single.val) < 70 and sum(single.val) % 7
    with pytest.raises(ConfigError, match=r"draw_by='images'.*image"):
        DrawOptions(by="images")


def test_masks_and_boxes_are_drawn_alike(tmp_path: Path) -> None:
    seg, det = tmp_path / "seg", tmp_path / "det"
    for file in patients(8, 3):
        for folder in (seg / "images", seg / "masks", det / "images"):
            write_image(folder / file, [])
        label = (det / "labels" / file).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2\n")
    layout, boxes = find_layout(str(seg)), BoxFolder(str(det))
    for split in ("train", "val"):
        of_masks = {Path(pair.image).relative_to(seg) for pair in layout.pairs(split)}
        of_boxes = {Path(i.path).relative_to(det) for i in boxes.records(split).images}
        assert of_masks == of_boxes and not len(of_masks) % 3
    assert "by sub-folder" in boxes.describe("val", boxes.records("val"))
    assert "by sub-folder" in layout.draw().text
