"""What the loader of a pipeline makes of images and masks is what the checks look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope
from PIL import Image

from mmattn.data.loading_errors import name_files_in_errors
from mmattn.errors import DataError, MMAttnError
from mmattn.preflight.data import check_dataset
from mmattn.preflight.data.dataset import DatasetReport
from tests.images.test_reader import write_bits, write_tiff

WHERE = "train_dataloader.dataset"
LOADERS = {
    "mmcv": [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}],
    "mmattn": [{"type": "mmattn.LoadImageFromFile"}, {"type": "LoadAnnotations"}],
    "folder": [{"type": "mmattn.LoadImageFromFile"}, {"type": "mmattn.LoadFolderMask"}],
}
RNG = np.random.default_rng(0)


def make(root: Path, encode: Callable[[Path, np.ndarray], None], *, shape=(24, 32)) -> Path:
    """Four images, which ``encode`` writes, with masks of two classes."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(4):
        encode(root / f"images/{index}", RNG.integers(60, 256, (*shape, 3), np.uint8))
        mask = np.zeros(shape, np.uint8)
        mask[: shape[0] // 2] = 1
        Image.fromarray(mask).save(root / f"masks/{index}.png")
    return root


def check(root: Path, loader: str, suffix: str = ".png", **options) -> DatasetReport:
    init_default_scope("mmseg")
    cfg = {"data_root": str(root), "pipeline": LOADERS[loader]}
    if loader == "folder":
        cfg.update(type="mmattn.FolderSegDataset", split="all")
    else:
        cfg.update(
            type="mmseg.BaseSegDataset",
            data_prefix={"img_path": "images", "seg_map_path": "masks"},
            img_suffix=suffix,
            metainfo={"classes": ("a", "b")},
        )
    return check_dataset({**cfg, **options}, WHERE)


def refusal(root: Path, loader: str, suffix: str = ".png", **options) -> str:
    with pytest.raises(MMAttnError) as caught:
        check(root, loader, suffix, **options)
    assert str(caught.value).startswith(WHERE)
    return str(caught.value)


def png(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path.with_suffix(".png"))


def deep(bits: int, bands: int = 3) -> Callable[[Path, np.ndarray], None]:
    def encode(path: Path, pixels: np.ndarray) -> None:
        pixels = pixels[..., :bands].squeeze().astype(np.uint16) << (bits - 8)
        cv2.imwrite(str(path.with_suffix(".png")), pixels)

    return encode


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("bands", [1, 3])
def test_deep_images_are_not_made_black(bits: int, bands: int, tmp_path: Path) -> None:
    root = make(tmp_path, deep(bits, bands))
    for loader in LOADERS:
        assert f"bit_depth={bits}" in refusal(root, loader), loader
    report = check(root, "folder", bit_depth=bits)
    assert any(f"upper 8 of {bits} bits are kept" in note for note in report.notes)
    assert "mmattn.LoadImageFromFile" in refusal(
        root, "folder", bit_depth=bits, pipeline=[LOADERS["mmcv"][0], LOADERS["folder"][1]]
    )


def test_images_of_16_used_bits_pass_with_mmcv_and_the_rule_is_told(tmp_path: Path) -> None:
    report = check(make(tmp_path, deep(16)), "mmcv")
    assert any("upper 8 of 16 bits" in note for note in report.notes)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("bands", "dtype", "sample", "said"),
    [(3, np.float32, 3, "floating-point"), (5, np.uint8, 1, "5 bands")],
    ids=["float32", "5 bands"],
)
def test_what_the_loader_cannot_read_is_refused(
    loader: str, bands: int, dtype: type, sample: int, said: str, tmp_path: Path
) -> None:
    """One such image among others, which a sample of a few could miss."""
    root = make(tmp_path, png)
    pixels = np.zeros((24, 32, bands), dtype)
    for index in range(4):
        (root / f"images/{index}.png").unlink()
        write_tiff(root / f"images/{index}.tif", pixels, sample=sample)
    assert said in refusal(root, loader, ".tif")
    name_files_in_errors()  # as a training does
    message = refusal(root, loader, ".tif")
    assert said in message and "mmattn check" not in message


def test_a_fourth_band_is_told(tmp_path: Path) -> None:
    root = make(tmp_path / "png", lambda path, x: png(path, np.dstack([x, x[..., :1]])))
    for loader in LOADERS:
        notes = check(root, loader).notes
        assert any("fourth band, which is dropped" in note for note in notes), loader

    def tiff(path: Path, pixels: np.ndarray) -> None:
        four = np.dstack([pixels, pixels[..., :1] // 9])
        Image.fromarray(four).save(path.with_suffix(".tif"))

    root = make(tmp_path / "tif", tiff)
    assert any("which is dropped" in note for note in check(root, "folder").notes)
    assert "by which LoadImageFromFile multiplies" in refusal(root, "mmcv", ".tif")


def test_several_pages_are_told(tmp_path: Path) -> None:
    def pages(path: Path, pixels: np.ndarray) -> None:
        image = Image.fromarray(pixels)
        image.save(path.with_suffix(".tif"), save_all=True, append_images=[image, image])

    root = make(tmp_path, pages)
    for loader in LOADERS:
        notes = check(root, loader, ".tif").notes
        assert any("several pages: the first is taken" in note for note in notes), loader


# --- EXIF ----------------------------------------------------------------------------------------


def add_exif(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.asarray(Image.open(path))).save(path, exif=exif)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_right_mask_of_a_turned_image_passes(loader: str, suffix: str, tmp_path: Path) -> None:
    root = make(tmp_path, lambda p, x: Image.fromarray(x).save(p.with_suffix(suffix)))
    for path in (root / "images").iterdir():
        add_exif(path, 6)
    assert "lies on its side" in refusal(root, loader, suffix)
    for path in (root / "masks").iterdir():
        Image.fromarray(np.rot90(np.asarray(Image.open(path))).copy()).save(path)
    assert check(root, loader, suffix).entries == 4


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_a_mask_with_an_orientation_is_turned_or_refused(orientation: int, tmp_path: Path) -> None:
    """The folder's loader turns masks and images alike, the usual one turns images alone."""
    from mmattn.data.folder.stored_mask import read_mask
    from mmattn.images.reader import turn

    root = make(tmp_path, png)
    for folder in ("images", "masks"):
        for path in (root / folder).iterdir():
            add_exif(path, orientation)
    assert f"EXIF orientation {orientation}" in refusal(root, "mmcv")
    assert check(root, "folder").entries == 4
    stored = np.asarray(Image.open(root / "masks/0.png"))
    found = read_mask(str(root / "masks/0.png"))
    np.testing.assert_array_equal(found.values, turn(stored, orientation))


# --- sizes ---------------------------------------------------------------------------------------


def test_images_and_masks_beyond_the_limit_are_refused_from_the_header(tmp_path: Path) -> None:
    root = make(tmp_path, png)
    for folder in ("images", "masks"):
        path = root / f"{folder}/2.png"
        before = path.read_bytes()
        write_bits(path, 50000, 50000)
        for loader in LOADERS:
            said = refusal(root, loader)
            assert "50000 x 50000" in said and "MMATTN_MAX_IMAGE_PIXELS" in said
        path.write_bytes(before)


@pytest.mark.parametrize("shape", [(2, 1), (2, 9), (5, 1)])
def test_narrow_images_pass_where_they_load(shape: tuple[int, int], tmp_path: Path) -> None:
    root = make(tmp_path, png, shape=shape)
    assert check(root, "folder").entries == 4
    if min(shape) > 1:
        assert check(root, "mmcv").entries == 4
    else:  # mmseg's loader drops axes of length 1, and later steps fail
        crop = {"type": "RandomCrop", "crop_size": (1, 1)}
        assert "does not pass RandomCrop" in refusal(
            root, "mmcv", pipeline=[*LOADERS["mmcv"], crop, {"type": "PackSegInputs"}]
        )


def test_a_step_that_makes_a_side_of_0_pixels_is_told(tmp_path: Path) -> None:
    root = make(tmp_path, png, shape=(2, 3000))
    resize = {"type": "RandomResize", "scale": (64, 32), "ratio_range": (0.5, 2.0),
              "keep_ratio": True}  # fmt: skip
    state = np.random.get_state()[1].tolist()
    for loader in LOADERS:
        said = refusal(root, loader, pipeline=[*LOADERS[loader], resize])
        assert "2 x 3000" in said and "does not pass RandomResize" in said
    assert np.random.get_state()[1].tolist() == state, "the run's random numbers stay"


def test_the_largest_mask_of_one_bit_has_the_labels_of_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above Pillow's limit, lowered here, another decoder read 0 and 255."""
    from mmattn.data.folder.stored_mask import read_mask

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    bits = RNG.integers(0, 2, (40, 50)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "a.png")
    mask = read_mask(str(tmp_path / "a.png"))
    assert mask.values.dtype == np.bool_
    np.testing.assert_array_equal(mask.values, bits)
    with pytest.raises(DataError, match="cannot be decoded"):
        (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
        read_mask(str(tmp_path / "b.png"))


# --- one class -----------------------------------------------------------------------------------


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    root = make(tmp_path, png)
    for path in (root / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * 255).save(path)
    assert "nothing to learn" in refusal(root, "mmcv", metainfo={"classes": ("crack",)})
    assert "one class is nothing to learn" in refusal(
        root, "folder", metainfo={"classes": ("foreground",)}
    )


def test_masks_of_one_label_are_refused_after_all_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rare class may be missing in the sample: the others are read before anything is refused."""
    monkeypatch.setattr("mmattn.preflight.data.dataset._MASKS", 2)
    root = make(tmp_path, png)
    for index in (0, 3):
        Image.fromarray(np.zeros((24, 32), np.uint8)).save(root / f"masks/{index}.png")
    assert check(root, "mmcv").looked_at["masks"] == 2
    for index in (1, 2):
        Image.fromarray(np.zeros((24, 32), np.uint8)).save(root / f"masks/{index}.png")
    assert "every labelled pixel of the 4 masks" in refusal(root, "mmcv")
