"""Promise: the usual layouts of images and masks are found, paired and split, or refused by name.

Files are empty here: only their names count.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mmattn.data.folder import find_layout
from mmattn.data.folder.draw import draw
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
    (unused,) = find_layout(str(tmp_path), skip_missing_masks=True).unused_masks()
    assert unused.endswith("p003-final.png")


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


# --- patterns of names ---------------------------------------------------------------------------

DRIVE = {"training": range(21, 27), "test": range(1, 5)}


def drive(root: Path) -> Path:
    for split, ids in DRIVE.items():
        for i in ids:
            touch(
                root,
                f"{split}/images/{i:02}_{split}.tif",
                f"{split}/1st_manual/{i:02}_manual1.gif",
                f"{split}/mask/{i:02}_{split}_mask.gif",
            )
    return root


def test_two_folders_that_pair_up_are_refused(tmp_path: Path) -> None:
    """``mask`` is DRIVE's field of view; only the names tell that both could be meant."""
    said = refusal(drive(tmp_path))
    assert "has 1st_manual and mask, each of which pairs up with images: set ann_dir" in said


@pytest.mark.parametrize(
    ("beside", "paired"),
    [
        ("depth/{}.png", True),
        ("overlays/{}_overlay.jpg", True),
        ("extra/mask-{}.png", True),
        ("logos/logo.png", False),
        ("SegmentationObject/{}.png", False),
    ],
)
@pytest.mark.parametrize("split", ["", "train/"])
def test_folders_beside_are_named_or_refused(
    beside: str, paired: bool, split: str, tmp_path: Path
) -> None:
    flat(tmp_path, 9, split)
    folder, name = beside.split("/")
    touch(tmp_path, *(f"{folder}/{split}{name.format(f'p{i:03}')}" for i in range(9)))
    if paired:
        assert f"{folder} and masks" in refusal(tmp_path) or f"masks and {folder}" in refusal(
            tmp_path
        )
    layout = find_layout(str(tmp_path), ann_dir="masks")
    assert list(layout.not_used) == [folder]


PATTERNS = [
    {"image_pattern": "{name}_{split}", "mask_pattern": "{name}_manual1"},
    {"image_pattern": "{name}_{split}.tif", "mask_pattern": "{name}_manual*.gif"},
    {"image_pattern": {"train": "{name}_training", "test": "{name}_test"},
     "mask_pattern": {"all": "{name}_manual1"}},
]  # fmt: skip


@pytest.mark.parametrize("patterns", PATTERNS)
def test_patterns_say_what_names_look_like(patterns: dict, tmp_path: Path) -> None:
    options = {"ann_dir": "1st_manual", **patterns}
    found = names(drive(tmp_path), "test", **options)
    assert found[0] == ("test/images/01_test.tif", "test/1st_manual/01_manual1.gif")
    assert len(found) == 4
    train, val = (names(tmp_path, split, **options) for split in ("train", "val"))
    assert len(train) + len(val) == 6 and val
    assert not find_layout(str(tmp_path), **options).unused_masks()
    assert set(find_layout(str(tmp_path), **options).not_used) == {"test/mask", "training/mask"}


def test_the_message_gives_the_patterns_to_set(tmp_path: Path) -> None:
    said = refusal(drive(tmp_path), ann_dir="1st_manual")
    assert "image_pattern='{name}_{split}' and mask_pattern='{name}_manual1'" in said
    prefixed = tmp_path / "prefixed"
    touch(prefixed, *(f"images/shot_{i}.jpg" for i in range(9)),
          *(f"masks/gt-{i}-final.png" for i in range(9)))  # fmt: skip
    said = refusal(prefixed, "all")
    found = re.search(r"image_pattern='(.*?)' and mask_pattern='(.*?)'", said)
    assert found is not None, said
    options = {"image_pattern": found[1], "mask_pattern": found[2]}
    assert names(prefixed, "all", **options)[0] == ("images/shot_0.jpg", "masks/gt-0-final.png")


def test_a_pattern_keeps_folders_and_leaves_others_out_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "images/a/1_rgb.png", "images/a/1_ir.png", "masks/a/m_1.png")
    options = {"image_pattern": "{name}_rgb", "mask_pattern": "m_{name}"}
    assert names(tmp_path, "all", **options) == [("images/a/1_rgb.png", "masks/a/m_1.png")]
    (left,) = find_layout(str(tmp_path), **options).left_out().items()
    assert left == (str(tmp_path / "images/a/1_ir.png"), "its name is not {name}_rgb")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{nam}_x", r"\{nam\} is not known"),
        ("name", r"needs \{name\} once"),
        ("{name}{name}", r"needs \{name\} once"),
        ({"trian": "{name}"}, "Did you mean 'train'"),
    ],
)
def test_patterns_that_are_none(pattern: Any, said: str, tmp_path: Path) -> None:
    flat(tmp_path, 4)
    for option in ("image_pattern", "mask_pattern"):
        with pytest.raises(ConfigError, match=f"{option}.*{said}"):
            names(tmp_path, "train", **{option: pattern})


# --- every file is used or named -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".gif", ".webp", ".JFIF"])
def test_images_of_all_endings_are_used(suffix: str, tmp_path: Path) -> None:
    touch(tmp_path, f"images/a{suffix}", "masks/a.gif", "images/b.png", "masks/b.png")
    assert len(names(tmp_path, "all")) == 2


def test_an_image_that_is_not_read_and_has_a_mask_is_refused(tmp_path: Path) -> None:
    flat(tmp_path, 4)
    touch(tmp_path, "images/q.heic", "masks/q_mask.png")
    said = refusal(tmp_path)
    assert "q.heic" in said and "convert these to PNG or JPEG" in said
    assert len(names(tmp_path, "all", img_suffix=".png")) == 4


def test_files_beside_the_images_are_named_with_the_reason(tmp_path: Path) -> None:
    flat(tmp_path, 4)
    touch(tmp_path, "images/notes.txt", "images/README", "images/._p000.png", "images/lone.png")
    left = find_layout(str(tmp_path), skip_missing_masks=True).left_out()
    assert {Path(name).name: reason for name, reason in left.items()} == {
        "notes.txt": ".txt is not read",
        "README": "it has no ending",
        "lone.png": "it has no mask",
    }


def test_masks_of_a_format_that_is_not_read_are_told(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.npy", "masks/b.png")
    said = refusal(tmp_path, "all")
    assert "a.npy is there, but masks of .npy are not read: save them as PNG" in said


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{s}/{f}/a.png" for s in ("val", "valid") for f in ("images", "masks")))
    assert "val and valid, both for val" in refusal(tmp_path, "val")
