"""Promise: the usual layouts of images and masks are found, paired and split, or refused by name.

Files are empty here: only their names count.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.data.folder import find_layout
from mmattn.data.folder.layout import draw
from mmattn.errors import ConfigError, DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(root: Path, split: str, **options) -> list[tuple[str, str]]:
    pairs = find_layout(str(root), **options).pairs(split)
    return [(str(Path(p.image).relative_to(root)), str(Path(p.mask).relative_to(root)))
            for p in pairs]  # fmt: skip


def refusal(root: Path, split: str = "train", **options) -> str:
    with pytest.raises(DataError) as caught:
        names(root, split, **options)
    return str(caught.value)


LAYOUTS = {
    "splits inside": ("images/train", "masks/train", "images/val", "masks/val"),
    "mmseg": ("images/training", "annotations/training", "images/validation",
              "annotations/validation"),
    "img_dir": ("img_dir/train", "ann_dir/train", "img_dir/val", "ann_dir/val"),
    "splits outside": ("train/images", "train/labels", "valid/images", "valid/labels"),
    "capitals": ("Images/Train", "Masks/Train", "Images/Val", "Masks/Val"),
}  # fmt: skip


@pytest.mark.parametrize("folders", LAYOUTS.values(), ids=LAYOUTS)
def test_splits_with_folders(folders: tuple[str, ...], tmp_path: Path) -> None:
    for place, suffix in zip(folders, (".jpg", ".png") * 2, strict=True):
        touch(tmp_path, f"{place}/b{suffix}", f"{place}/a{suffix}", f"{place}/.hidden{suffix}")
    for split, (images, masks) in {"train": folders[:2], "val": folders[2:]}.items():
        assert names(tmp_path, split) == [
            (f"{images}/{stem}.jpg", f"{masks}/{stem}.png") for stem in "ab"
        ]
    assert len(names(tmp_path, "all")) == 4


def test_folders_inside_folders_are_searched(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/aachen/x.png", "annotations/train/aachen/x.png")
    touch(tmp_path, "images/val/ulm/x.png", "annotations/val/ulm/x.png")
    assert names(tmp_path, "train") == [
        ("images/train/aachen/x.png", "annotations/train/aachen/x.png")
    ]


def test_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b.png")
    (tmp_path / "images/up").symlink_to(tmp_path / "images")
    assert len(names(tmp_path, "all")) == 2


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("a.jpg", "a.png"),
        ("a.JPG", "a.PNG"),
        ("a.tif", "a.bmp"),
        ("a.jpeg", "a_mask.png"),
        ("a.jpg", "a_gt.png"),
        ("a.jpg", "a_gtFine_labelIds.png"),
        ("a_leftImg8bit.png", "a_gtFine_labelTrainIds.png"),
        ("a.png", "a_L.png"),
        ("a.png", "a-label.png"),
        ("a_image.png", "a_mask.png"),
        ("a.b.png", "a.b_segmentation.tiff"),
        ("cell_l.png", "cell_l.png"),
    ],
)
def test_endings_of_names_are_tolerated(image: str, mask: str, tmp_path: Path) -> None:
    touch(tmp_path, f"images/{image}", f"masks/{mask}")
    assert names(tmp_path, "all") == [(f"images/{image}", f"masks/{mask}")]


def test_a_mask_of_the_very_name_goes_first(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/a_mask.jpg", "masks/a.png", "masks/a_mask.png")
    assert [Path(mask).name for _, mask in names(tmp_path, "all")] == ["a.png", "a_mask.png"]


def test_a_given_suffix_decides(tmp_path: Path) -> None:
    masks = ("a_gt_labelIds.png", "a_gt_labelTrainIds.png", "a_gt_color.png")
    touch(tmp_path, "images/a.jpg", *(f"masks/{mask}" for mask in masks))
    said = refusal(tmp_path, "all")
    assert "has 2 masks" in said
    assert "seg_map_suffix='_gt_labelIds.png'" in said
    for suffix in ("_gt_labelTrainIds.png", "_gt_color.png"):
        assert names(tmp_path, "all", seg_map_suffix=suffix)[0][1] == f"masks/a{suffix}"


def test_a_mask_is_of_one_image(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "images/a_photo.png", "images/a_rgb.png", "masks/a.png")
    said = refusal(tmp_path, "all")
    assert f"3 images have the one mask {tmp_path}/masks/a.png" in said
    assert all(f"{tmp_path}/images/{name}.png" in said for name in ("a", "a_photo", "a_rgb"))
    assert "a mask of its very name" in said
    touch(tmp_path, "masks/a_rgb.png", "masks/a_photo_mask.png")
    found = names(tmp_path, "all")
    assert [Path(mask).name for _, mask in found] == ["a.png", "a_photo_mask.png", "a_rgb.png"]


def test_images_of_two_endings(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/a.png", "masks/a.png")
    assert "a.jpg and a.png: two images of one name" in refusal(tmp_path, "all")
    assert names(tmp_path, "all", img_suffix=".png") == [("images/a.png", "masks/a.png")]


# --- the draw ------------------------------------------------------------------------------------


def flat(root: Path, count: int, folder: str = "") -> Path:
    stems = [f"p{i:03}" for i in range(count)]
    return touch(root, *(f"{top}/{folder}{s}.png" for s in stems for top in ("images", "masks")))


@pytest.mark.parametrize("folder", ["", "train/"], ids=["flat", "only train"])
def test_val_is_drawn_where_no_folder_is_for_it(folder: str, tmp_path: Path) -> None:
    flat(tmp_path, 200, folder)
    train, val = names(tmp_path, "train"), names(tmp_path, "val")
    assert not set(train) & set(val)
    assert sorted(train + val) == names(tmp_path, "all")
    assert 20 < len(val) < 60
    assert names(tmp_path, "val", split_seed=1) != val
    assert len(names(tmp_path, "val", val_fraction=0.5)) > 70


def test_a_further_image_moves_no_other_one() -> None:
    stems = [f"p{i}" for i in range(50)]
    before = draw(stems, 0.2, 0)
    after = draw([*stems, "new 1", "new 2"], 0.2, 0)
    assert before == after - {"new 1", "new 2"}


def test_the_draw_is_the_same_everywhere() -> None:
    """Another Python or machine must not mix training and validation images."""
    assert sorted(draw(map(str, range(20)), 0.2, seed=0)) == ["15", "18", "7"]


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_side_is_empty(fraction: float) -> None:
    assert 0 < len(draw("abc", fraction, 0)) < 3


# --- refusals ------------------------------------------------------------------------------------


def test_a_image_without_mask_is_named(tmp_path: Path) -> None:
    flat(tmp_path, 9)
    (tmp_path / "masks/p003.png").rename(tmp_path / "masks/p003-final.png")
    said = refusal(tmp_path)
    assert "1 of 9 images have no mask" in said
    assert "p003.png" in said and "p003-final.png" in said and "missing_masks='skip'" in said
    assert len(names(tmp_path, "all", skip_missing_masks=True)) == 8
    assert find_layout(str(tmp_path), skip_missing_masks=True).unused_masks() == 1


def test_folders_of_other_names_are_given(tmp_path: Path) -> None:
    touch(tmp_path, "701_Stills/a.png", "Labels_Approved/a_L.png")
    said = refusal(tmp_path)
    assert "701_Stills/" in said and "img_dir=" in said and "ann_dir=" in said
    given = {"img_dir": "701_Stills", "ann_dir": "Labels_Approved"}
    assert names(tmp_path, "all", **given) == [("701_Stills/a.png", "Labels_Approved/a_L.png")]
    said = refusal(tmp_path, **{**given, "ann_dir": "Label_Approved"})
    assert "Did you mean 'Labels_Approved'?" in said


CASES = {
    "nothing there": ((), "has none of the known layouts"),
    "one level deeper": (("set/images/a.jpg", "set/masks/a.png"), "set data_root to it"),
    "two folders of masks": (
        ("images/a.jpg", "masks/a.png", "labels/a.png"),
        "labels and masks, each of which could hold the masks: set ann_dir=",
    ),
    "masks are not split": (
        ("images/train/a.jpg", "images/val/b.jpg", "masks/a.png", "masks/b.png"),
        "split both, or none",
    ),
    "images beside the splits": (
        ("images/train/a.jpg", "images/b.jpg", "masks/train/a.png", "masks/val/b.png"),
        "holds 1 files such as ['b.jpg'] beside the folders train",
    ),
    "a split without masks": (
        ("images/train/a.jpg", "images/val/b.jpg", "masks/train/a.png"),
        "masks/val does not",
    ),
    "no image": (("images/readme.txt", "masks/a.png"), "holds no image with a mask"),
}


@pytest.mark.parametrize(("files", "said"), CASES.values(), ids=CASES)
def test_what_is_not_clear_is_refused(files: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in refusal(touch(tmp_path, *files))


def test_json_beside_masks_is_no_second_folder(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "masks/a.png", "annotations/instances.json")
    assert names(tmp_path, "all") == [("images/a.jpg", "masks/a.png")]


def test_missing_folders_and_splits(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    touch(tmp_path, "images/train/a.jpg", "masks/train/a.png")
    touch(tmp_path, "images/val/b.jpg", "masks/val/b.png")
    assert "no split 'test' with masks, but train, val, all" in refusal(tmp_path, "test")
    with pytest.raises(ConfigError, match="val_fraction=1"):
        find_layout(str(tmp_path), val_fraction=1.0)
    alone = touch(tmp_path / "alone", "images/a.jpg", "masks/a.png")
    assert "one image cannot be split" in refusal(alone)
