"""Promise: masks of every usual kind become the right labels by a stated format, or are refused.

Each kind stores the same label map in another way; whatever the dataset returns is compared with
that map.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image

from mmattn.data import FolderSegDataset
from mmattn.errors import ConfigError, DataError, MMAttnError
from mmattn.preflight.data import check_dataset

COLOURS = np.array([[0, 0, 0], [200, 30, 30], [30, 30, 200]], np.uint8)
CLASSES = {"back": [0, 0, 0], "cell": [200, 30, 30], "vein": [30, 30, 200]}
PIPELINE = [
    {"type": "LoadImageFromFile"},
    {"type": "mmattn.LoadFolderMask"},
    {"type": "PackSegInputs"},
]
WHERE = "train_dataloader.dataset"


def label_maps(count: int = 3) -> list[np.ndarray]:
    """Five maps of 12 x 16 with ``count`` classes, each of which every map holds."""
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, count, (5, 3, 4))
    blocks[:, 0, :count] = np.arange(count)
    return [np.kron(block, np.ones((4, 4), int)).astype(np.uint8) for block in blocks]


def write(
    root: Path,
    maps: list[np.ndarray],
    encode: Callable[[np.ndarray], Image.Image] = Image.fromarray,
    classes: Any = None,
    suffix: str = ".png",
) -> Path:
    """A folder without splits."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index, labels in enumerate(maps):
        image = np.full((*labels.shape, 3), 20 * index, np.uint8)
        Image.fromarray(image).save(root / f"images/{index}.png")
        encode(labels).save(root / f"masks/{index}{suffix}")
    if classes is not None:
        (root / "classes.json").write_text(json.dumps(classes))
    return root


def build(root: Path, **options) -> FolderSegDataset:
    init_default_scope("mmseg")
    # Serialised entries would be collected as garbage, which takes longer than all else here.
    options = {"split": "all", "pipeline": PIPELINE, "serialize_data": False, **options}
    return DATASETS.build({"type": "mmattn.FolderSegDataset", "data_root": str(root), **options})


def loaded(root: Path, **options) -> list[np.ndarray]:
    samples = build(root, **options)
    return [sample["data_samples"].gt_sem_seg.data[0].numpy() for sample in samples]


def format_of(dataset: FolderSegDataset) -> str:
    return dataset.mask_reader.mask_format


def refusal(root: Path, **options) -> str:
    """What checking the data before training says."""
    init_default_scope("mmseg")
    cfg = {"type": "mmattn.FolderSegDataset", "data_root": str(root), "split": "all"}
    with pytest.raises(MMAttnError) as caught:
        check_dataset({**cfg, "pipeline": PIPELINE, **options}, WHERE)
    assert str(caught.value).startswith(WHERE)
    return str(caught.value)


def palette(labels: np.ndarray, colours: np.ndarray = COLOURS) -> Image.Image:
    image = Image.fromarray(labels).convert("P")
    image.putdata(labels.reshape(-1).tolist())
    image.putpalette(colours.reshape(-1).tolist())
    return image


def with_alpha(pixels: np.ndarray, alpha: int | np.ndarray = 255) -> Image.Image:
    channel = np.broadcast_to(np.uint8(alpha), pixels.shape[:2])
    return Image.fromarray(np.dstack([pixels, channel]))


def shuffled(labels: np.ndarray) -> Image.Image:
    """Indices in another order, with a palette that shows the right colours."""
    order = np.array([2, 0, 1])
    return palette(order.astype(np.uint8)[labels], COLOURS[np.argsort(order)])


THREE: dict[str, tuple[Callable, Any, dict, str]] = {
    "8 bits": (Image.fromarray, None, {}, "index"),
    "8 bits, names": (Image.fromarray, ["a", "b", "c"], {}, "index"),
    "8 bits, colours to show": (Image.fromarray, CLASSES, {}, "index"),
    "grey saved as RGB": (lambda m: Image.fromarray(np.dstack([m] * 3)), None, {}, "index"),
    "palette": (palette, None, {}, "index"),
    "palette, the same colours": (palette, CLASSES, {}, "index"),
    "palette, other order": (shuffled, CLASSES, {"mask_format": "rgb"}, "rgb"),
    "palette, colours alone": (
        lambda m: palette(m + 7, np.vstack([np.ones((7, 3), np.uint8), COLOURS])),
        CLASSES, {}, "rgb",
    ),
    "16 bits": (lambda m: Image.fromarray(m.astype(np.uint16)), None, {}, "index"),
    "16 bits, large values": (
        lambda m: Image.fromarray(m.astype(np.uint16) * 1000),
        {"0": "a", "1000": "b", "2000": "c"}, {}, "index",
    ),
    "32 bits": (lambda m: Image.fromarray(m.astype(np.int32)), None, {"suffix": ".tif"}, "index"),
    "floating point": (
        lambda m: Image.fromarray(m.astype(np.float32)), None, {"suffix": ".tif"}, "index",
    ),
    "stretched": (
        lambda m: Image.fromarray(m * 100), {"0": "a", "100": "b", "200": "c"}, {}, "index",
    ),
    "colours": (lambda m: Image.fromarray(COLOURS[m]), CLASSES, {}, "rgb"),
    "colours with alpha": (lambda m: with_alpha(COLOURS[m]), CLASSES, {}, "rgb"),
    "colours, transparent ground": (
        lambda m: with_alpha(COLOURS[m], np.where(m == 0, 0, 255)),
        CLASSES, {"mask_format": "rgb"}, "rgb",
    ),
    "grey with alpha": (
        lambda m: Image.fromarray(np.dstack([m, np.full_like(m, 255)])), None, {}, "index",
    ),
    "greys are colours": (
        lambda m: Image.fromarray(m * 100),
        {"a": [0, 0, 0], "b": [100, 100, 100], "c": [200, 200, 200]}, {}, "rgb",
    ),
}  # fmt: skip
TWO: dict[str, tuple[Callable, Any, dict, str]] = {
    "black and white": (lambda m: Image.fromarray(m * 255), None, {}, "binary"),
    "black and white, names": (lambda m: Image.fromarray(m * 255), ["a", "b"], {}, "binary"),
    "one bit": (lambda m: Image.fromarray(m.astype(bool)), None, {}, "index"),
    "16 bits": (lambda m: Image.fromarray(m.astype(np.uint16) * 65535), None, {}, "binary"),
    "16 bits, white is 255": (
        lambda m: Image.fromarray(m.astype(np.uint16) * 255), ["a", "b"], {}, "binary",
    ),
    "RGB": (lambda m: Image.fromarray(np.dstack([m * 255] * 3)), None, {}, "binary"),
    "stated": (lambda m: Image.fromarray(m * 255), {"0": "a", "255": "b"}, {}, "index"),
    "white first": (
        lambda m: Image.fromarray((1 - m) * 255), {"255": "a", "0": "b"}, {}, "index",
    ),
    "grey edges": (
        lambda m: Image.fromarray(np.where(m, 200, 90).astype(np.uint8)), None,
        {"mask_format": "binary"}, "binary",
    ),
    "alpha": (
        lambda m: with_alpha(np.full((*m.shape, 3), 77, np.uint8), m * 255), None,
        {"mask_format": "alpha"}, "alpha",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("count", "encode", "classes", "options", "mask_format"),
    [(3, *case) for case in THREE.values()] + [(2, *case) for case in TWO.values()],
    ids=[*THREE, *(f"two: {name}" for name in TWO)],
)
def test_every_kind_of_mask_gives_the_same_labels(
    count: int, encode: Callable, classes: Any, options: Mapping, mask_format: str, tmp_path: Path
) -> None:
    maps, options = label_maps(count), dict(options)
    write(tmp_path, maps, encode, classes, suffix=options.pop("suffix", ".png"))
    dataset = build(tmp_path, **options)
    assert format_of(dataset) == mask_format
    assert len(dataset.metainfo["classes"]) == len(dataset.metainfo["palette"]) == count
    for expected, labels in zip(maps, loaded(tmp_path, **options), strict=True):
        np.testing.assert_array_equal(labels, expected)


def test_names_and_colours(tmp_path: Path) -> None:
    write(tmp_path, label_maps(), palette)
    meta = build(tmp_path).metainfo
    assert meta["classes"] == ("class 0", "class 1", "class 2")
    assert meta["palette"] == COLOURS.tolist(), "a palette PNG shows how to paint the classes"
    (tmp_path / "classes.json").write_text(json.dumps(CLASSES))
    assert build(tmp_path).metainfo["classes"] == tuple(CLASSES)
    write(tmp_path / "two", label_maps(2), lambda m: Image.fromarray(m * 255))
    assert build(tmp_path / "two").metainfo["classes"] == ("background", "foreground")


def test_unlabelled_pixels_stay_255(tmp_path: Path) -> None:
    maps = [np.where(m == 2, 255, m).astype(np.uint8) for m in label_maps()]
    write(tmp_path / "8", maps)
    deep = lambda m: Image.fromarray(np.where(m == 255, 65535, m).astype(np.uint16))  # noqa: E731
    write(tmp_path / "16", maps, deep)
    for kind in ("8", "16"):
        assert len(build(tmp_path / kind).metainfo["classes"]) == 2
        np.testing.assert_array_equal(loaded(tmp_path / kind), maps)


def test_a_class_called_ignore_is_left_out(tmp_path: Path) -> None:
    maps = label_maps()
    expected = [np.array([0, 255, 1])[m] for m in maps]
    names = dict(zip(("a", "ignore", "c"), CLASSES.values(), strict=True))
    write(tmp_path / "index", maps, classes=["a", "ignore", "c"])
    write(tmp_path / "rgb", maps, lambda m: Image.fromarray(COLOURS[m]), classes=names)
    for kind in ("index", "rgb"):
        np.testing.assert_array_equal(loaded(tmp_path / kind), expected)


def test_zero_is_no_class(tmp_path: Path) -> None:
    maps = label_maps()
    write(tmp_path, maps)
    expected = [np.array([255, 0, 1])[m] for m in maps]
    np.testing.assert_array_equal(loaded(tmp_path, reduce_zero_label=True), expected)
    assert build(tmp_path, reduce_zero_label=True).metainfo["classes"] == ("class 1", "class 2")
    (tmp_path / "classes.json").write_text('["cell", "vein"]')
    np.testing.assert_array_equal(loaded(tmp_path, reduce_zero_label=True), expected)


def test_some_of_the_classes(tmp_path: Path) -> None:
    maps = label_maps()
    write(tmp_path, maps, lambda m: Image.fromarray(COLOURS[m]), CLASSES)
    options = {"metainfo": {"classes": ["vein", "back"]}}
    np.testing.assert_array_equal(
        loaded(tmp_path, **options), [np.array([1, 255, 0])[m] for m in maps]
    )
    assert build(tmp_path, **options).metainfo["palette"] == [[30, 30, 200], [0, 0, 0]]


def test_what_no_class_has_is_ignored_when_asked(tmp_path: Path) -> None:
    maps = label_maps()
    write(tmp_path / "index", maps, classes={"0": "a", "2": "c"})
    some = {name: CLASSES[name] for name in ("back", "vein")}
    write(tmp_path / "rgb", maps, lambda m: Image.fromarray(COLOURS[m]), some)
    for kind in ("index", "rgb"):
        np.testing.assert_array_equal(
            loaded(tmp_path / kind, unknown_values="ignore"),
            [np.array([0, 255, 1])[m] for m in maps],
        )


def test_the_splits_have_the_same_classes(tmp_path: Path) -> None:
    """The one image with class 2 is in val: training knows of the class as well."""
    maps = [np.minimum(m, 1) for m in label_maps()]
    for split, chosen in {"train": maps, "val": [label_maps()[0]]}.items():
        write(tmp_path / "set" / split, chosen)
    train, val = (build(tmp_path / "set", split=split) for split in ("train", "val"))
    assert train.metainfo["classes"] == val.metainfo["classes"] == tuple(
        f"class {i}" for i in range(3)
    )  # fmt: skip
    assert (len(train), len(val)) == (5, 1)


def test_jpeg_masks_can_be_black_and_white(tmp_path: Path) -> None:
    maps = label_maps(2)
    write(tmp_path, maps, lambda m: Image.fromarray(m * 255), suffix=".jpg")
    assert "is a JPEG" in refusal(tmp_path)
    np.testing.assert_array_equal(loaded(tmp_path, mask_format="binary"), maps)


def test_prefixes_as_other_data_sets_have_them(tmp_path: Path) -> None:
    write(tmp_path, label_maps())
    (tmp_path / "masks").rename(tmp_path / "odd")
    prefix = {"img_path": "images", "seg_map_path": "odd"}
    assert len(build(tmp_path, data_prefix=prefix)) == 5
    with pytest.raises(DataError, match=r"seg_map_path='.*od': no such folder.*'odd'"):
        build(tmp_path, data_prefix={**prefix, "seg_map_path": "od"})


def test_it_travels_to_worker_processes(tmp_path: Path) -> None:
    dataset = pickle.loads(pickle.dumps(build(write(tmp_path, label_maps()), serialize_data=True)))
    assert len(dataset[0]["data_samples"].gt_sem_seg.data.unique()) == 3


def test_a_image_without_mask_passes_for_prediction(tmp_path: Path) -> None:
    dataset = build(write(tmp_path, label_maps()))
    sample = dataset.pipeline({"img_path": str(tmp_path / "images/0.png")})
    assert "gt_sem_seg" not in sample["data_samples"]


def test_nothing_is_written(tmp_path: Path) -> None:
    write(tmp_path, label_maps(), classes=["a", "b", "c"])
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    loaded(tmp_path, split="val")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_the_report_tells_what_was_found_out(tmp_path: Path) -> None:
    write(tmp_path, label_maps(2), lambda m: Image.fromarray(m * 255))
    (tmp_path / "masks/left over.png").write_bytes((tmp_path / "masks/0.png").read_bytes())
    cfg = {"type": "mmattn.FolderSegDataset", "data_root": str(tmp_path), "pipeline": PIPELINE}
    init_default_scope("mmseg")
    report = check_dataset(cfg, WHERE)
    table = report.table()
    for said in ("2 classes, from the masks of",
                 "mask_format binary: the masks hold 0 and 255 only",
                 "train drawn from images: val_fraction 0.2, split_seed 0", "foreground",
                 "1 mask belongs to no image, such as",
                 "images in images, masks in masks"):  # fmt: skip
        assert said in table, said
    assert sum(report.counts.values()) == report.entries * 12 * 16


# --- refusals ------------------------------------------------------------------------------------


def put(value: int, dtype: type = np.uint8) -> Callable[[np.ndarray], Image.Image]:
    """An encoding in which the upper left corner of every mask has another value."""

    def encode(labels: np.ndarray) -> Image.Image:
        labels = labels.astype(dtype)
        labels[:2, :2] = value
        return Image.fromarray(labels)

    return encode


NAMES = ["a", "b", "c"]
WRONG: dict[str, tuple[Callable, Any, dict, list[str]]] = {
    "colours without names": (
        lambda m: Image.fromarray(COLOURS[m]), None, {},
        ["colour-coded with 3 colours", '{"class 0": [0, 0, 0], "class 1": [30, 30, 200]'],
    ),
    "names without colours": (
        lambda m: Image.fromarray(COLOURS[m]), NAMES, {}, ['{"a": [0, 0, 0], "b": [30, 30, 200]'],
    ),
    "a colour too many": (
        lambda m: Image.fromarray(COLOURS[m]), {k: CLASSES[k] for k in ("back", "cell")}, {},
        ["1 colours that", "lacks: (30, 30, 200) at", "unknown_values=ignore"],
    ),
    "smooth edges": (
        lambda m: Image.fromarray(COLOURS[m]).resize((16, 12), Image.BICUBIC, (1, 1, 14, 11)),
        CLASSES, {}, ["smooth resizing"],
    ),
    "transparent": (
        lambda m: with_alpha(COLOURS[m], m * 100), CLASSES, {},
        ["is transparent in places", "mask_format=alpha", "mask_format=rgb"],
    ),
    "palette of another order": (shuffled, CLASSES, {}, ["another order", "mask_format=index"]),
    "neither place nor colour": (
        lambda m: Image.fromarray(m * 100), CLASSES, {}, ["holds the value 100", "(100, 100, 100)"],
    ),
    "one value too many": (
        put(3), NAMES, {}, ["holds 3", "values 0 to 2", "reduce_zero_label=True"],
    ),
    "a far value": (put(90), NAMES, {}, ["holds 90", '{"90": "name"}', "unknown_values=ignore"]),
    "a value that is not stated": (
        put(9), {"0": "a", "1": "b", "2": "c"}, {}, ["holds 9", 'Name 9 there, "ignore"'],
    ),
    "gaps without names": (
        put(40), None, {}, ["hold 0, 1, 2, 40", '"40": "class 40"', "classes.json"],
    ),
    "stretched": (
        lambda m: Image.fromarray(m * 120), None, {}, ["hold 0, 120, 240", "multiples of 120"],
    ),
    "above 16 bits": (
        put(70000, np.int32), NAMES, {"suffix": ".tif"}, ["0 to 70000", "values are 0 to 65535"],
    ),
    "object ids": (
        lambda m: Image.fromarray(np.arange(m.size, dtype=np.uint16).reshape(m.shape) * 2), None,
        {}, ["classes.json", "0, 2, 4"],
    ),
    "black and white with three names": (
        lambda m: Image.fromarray(np.minimum(m, 1) * 255), NAMES, {},
        ["hold 0 and 255 only", "names 3 classes", '["background", "a"]'],
    ),
    "black, white and a grey": (
        lambda m: put(7)(np.minimum(m, 1) * 255) if m[4, 0] == m[4, 4] else
        Image.fromarray(np.minimum(m, 1) * 255), ["a", "b"], {"mask_format": "index"}, ["holds 7"],
    ),
    "grey edges": (
        lambda m: put(130)(np.minimum(m, 1) * 255), ["a", "b"], {},
        ["holds 130", "mask_format=binary"],
    ),
    "0 and 1 divided at 128": (
        lambda m: Image.fromarray(np.minimum(m, 1)), ["a", "b"], {"mask_format": "binary"},
        ["hold 0, 1: mask_format=binary starts", "at 128", "mask_format=index"],
    ),
    "0 and 255 in 16 bits divided at 32768": (
        lambda m: Image.fromarray(np.minimum(m, 1).astype(np.uint16) * 255), None,
        {"mask_format": "binary"}, ["hold 0, 255: ", "at 32768", "mask_format=auto"],
    ),
    "one value only": (lambda m: Image.fromarray(m * 0), None, {}, ["hold 0 only"]),
    "all ignored": (
        lambda m: Image.fromarray(m * 0 + 255), NAMES, {}, ["is ignored: there is nothing"],
    ),
    "fractions": (
        lambda m: Image.fromarray(m.astype(np.float32) / 2), NAMES, {"suffix": ".tif"},
        ["floating-point numbers such as 0.5"],
    ),
    "index format on colours": (
        lambda m: Image.fromarray(COLOURS[m]), NAMES, {"mask_format": "index"},
        ["has 3 colours", "mask_format=rgb"],
    ),
    "rgb format without colours": (
        Image.fromarray, NAMES, {"mask_format": "rgb"}, ["has no colours"],
    ),
    "rgb format without names": (
        Image.fromarray, None, {"mask_format": "rgb"}, ["classes.json with"],
    ),
    "alpha format without alpha": (
        Image.fromarray, ["a", "b"], {"mask_format": "alpha"}, ["has no alpha channel"],
    ),
    "binary format with three names": (
        lambda m: Image.fromarray(m * 100), NAMES, {"mask_format": "binary"},
        ["tells two classes apart"],
    ),
    "zero is reduced and stated": (
        Image.fromarray, {"0": "a", "1": "b", "2": "c"}, {"reduce_zero_label": True},
        ["states them", '"ignore"'],
    ),
    "unknown format": (
        Image.fromarray, NAMES, {"mask_format": "idx"}, ["mask_format='idx'", "'index'"],
    ),
    "unknown split": (Image.fromarray, NAMES, {"split": "vall"}, ["Did you mean 'val'"]),
    "another ignore value": (Image.fromarray, NAMES, {"ignore_index": 0}, ['"ignore"']),
    "a class that is none": (
        Image.fromarray, NAMES, {"metainfo": {"classes": ["a", "d"]}}, ["'d' is no class"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("encode", "classes", "options", "said"), WRONG.values(), ids=WRONG)
def test_what_masks_do_not_say_is_refused_with_the_fix(
    encode: Callable, classes: Any, options: dict, said: list[str], tmp_path: Path
) -> None:
    options = dict(options)
    write(tmp_path, label_maps(), encode, classes, suffix=options.pop("suffix", ".png"))
    message = refusal(tmp_path, **options)
    for part in said:
        assert part in message, message


def smooth(mask: np.ndarray) -> Image.Image:
    size = mask.shape[1], mask.shape[0]
    return Image.fromarray(mask).resize((9, 7), Image.BICUBIC).resize(size, Image.BICUBIC)


@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize("names", [None, ["a", "b"]])
@pytest.mark.parametrize("how_many", [1, 2])
def test_a_few_smooth_masks_among_black_and_white_ones_are_named(
    white: int, names: Any, how_many: int, tmp_path: Path
) -> None:
    deep = np.uint8 if white == 255 else np.uint16
    write(tmp_path, label_maps(2), lambda m: Image.fromarray(m.astype(deep) * white), names)
    for index in range(how_many):
        grey = np.asarray(smooth(label_maps(2)[index] * 255)).astype(deep) * (white // 255)
        Image.fromarray(grey).save(tmp_path / f"masks/{index}.png")
    said = refusal(tmp_path)
    assert f"{5 - how_many} of 5 masks hold 0 and {white} only; " in said
    assert "masks/0.png" in said and "resized" in said and "mask_format=binary" in said
    assert len(build(tmp_path, mask_format="binary")) == 5


def test_a_few_smooth_masks_among_others_are_named(tmp_path: Path) -> None:
    write(tmp_path, label_maps(3), lambda m: Image.fromarray(m * 100))
    smooth(label_maps(3)[4] * 100).save(tmp_path / "masks/4.png")
    said = refusal(tmp_path)
    assert "4 of the 5 masks" in said and "hold 0, 100, 200 only" in said
    assert "masks/4.png" in said and "further values" in said


@pytest.mark.parametrize("names", [["background", "x", "y"], ["BG", "Background", "x"]])
def test_two_different_names_are_suggested_for_black_and_white(
    names: list[str], tmp_path: Path
) -> None:
    write(tmp_path, label_maps(2), lambda m: Image.fromarray(m * 255), names)
    assert '["background", "x"]' in refusal(tmp_path)


@pytest.mark.parametrize("colours", [False, True])
def test_gif_masks_hold_greys_or_colours(colours: bool, tmp_path: Path) -> None:
    """The indices in a GIF are its writer's: those that occur, in any order."""
    if colours:
        write(tmp_path, label_maps(), lambda m: Image.fromarray(COLOURS[m]), CLASSES, ".gif")
    else:
        write(tmp_path, label_maps(), Image.fromarray, None, ".gif")
        for index, labels in enumerate(label_maps()):  # of which two hold no 1
            kept = np.where(labels == 1, 2, labels) if index < 2 else labels
            Image.fromarray(kept).save(tmp_path / f"masks/{index}.gif")
    dataset = build(tmp_path)
    assert format_of(dataset) == ("rgb" if colours else "index")
    for index, (expected, found) in enumerate(zip(label_maps(), loaded(tmp_path), strict=True)):
        if not colours and index < 2:
            expected = np.where(expected == 1, 2, expected)
        np.testing.assert_array_equal(found, expected)


def test_black_and_white_gifs(tmp_path: Path) -> None:
    write(tmp_path, label_maps(2), lambda m: Image.fromarray(m * 255), None, ".gif")
    np.testing.assert_array_equal(loaded(tmp_path), label_maps(2))
    assert format_of(build(tmp_path)) == "binary"


def test_masks_of_several_pages_are_refused(tmp_path: Path) -> None:
    write(tmp_path, label_maps(), suffix=".tif")
    page = Image.fromarray(label_maps()[0])
    page.save(tmp_path / "masks/2.tif", save_all=True, append_images=[page])
    assert "2.tif has 2 pages" in refusal(tmp_path)


@pytest.mark.parametrize("stretch", [1, 257])
def test_grey_saved_as_rgb_of_16_bits_keeps_its_values(stretch: int, tmp_path: Path) -> None:
    """Pillow drops the lower 8 bits, which are all that a label map has."""
    maps = label_maps()
    names = {str(i * stretch): name for i, name in enumerate("abc")}
    write(tmp_path, maps, classes=names)
    for index, labels in enumerate(maps):
        deep = np.dstack([labels.astype(np.uint16) * stretch] * 3)
        cv2.imwrite(str(tmp_path / f"masks/{index}.png"), deep)
    np.testing.assert_array_equal(loaded(tmp_path), maps)


def test_a_name_that_often_means_ignore_is_told(tmp_path: Path) -> None:
    notes = build(write(tmp_path, label_maps(), classes=["a", "Void", "c"])).notes
    assert any("'Void' is trained as a class" in note for note in notes)


def test_the_folders_of_every_split_are_told(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for folder in ("images", "masks", "extra"):
            (tmp_path / f"{folder}/{split}").mkdir(parents=True)
        for index, labels in enumerate(label_maps()):
            for folder in ("images", "masks"):
                Image.fromarray(labels).save(tmp_path / f"{folder}/{split}/{index}.png")
    Image.fromarray(labels).save(tmp_path / "extra/train/legend.png")
    for split in ("train", "val"):
        notes = build(tmp_path, split=split).notes
        assert f"{split}: images in images/{split}, masks in masks/{split}" in notes
        assert any(note.startswith("not used: extra") for note in notes)


def test_one_mask_that_differs_is_named(tmp_path: Path) -> None:
    write(tmp_path, label_maps(2), lambda m: Image.fromarray(m * 255))
    odd = label_maps(2)[3]
    odd[0, 0] = 130
    dataset = build(tmp_path)  # decided before the mask was edited
    Image.fromarray(odd).save(tmp_path / "masks/3.png")
    with pytest.raises(DataError, match=r"masks/3.png holds 1, 130, the others hold 0 and 255"):
        dataset[3]


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    write(tmp_path, label_maps(), classes=NAMES)
    Image.fromarray(label_maps()[1][:8]).save(tmp_path / "masks/1.png")
    assert "masks/1.png is 8 x 16 (height x width), its image" in refusal(tmp_path)
    with pytest.raises(DataError, match=r"masks/1.png is 8 x 16"):
        build(tmp_path)[1]


def test_a_broken_mask_is_named(tmp_path: Path) -> None:
    write(tmp_path, label_maps(), classes=NAMES)
    whole = (tmp_path / "masks/2.png").read_bytes()
    (tmp_path / "masks/2.png").write_bytes(whole[: len(whole) // 2])
    assert "masks/2.png cannot be decoded" in refusal(tmp_path)


def test_the_usual_loader_is_refused(tmp_path: Path) -> None:
    write(tmp_path, label_maps())
    stock = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
    assert "mmattn.LoadFolderMask" in refusal(tmp_path, pipeline=stock)
    with pytest.raises(ConfigError, match=r"mmattn\.LoadFolderMask"):
        build(tmp_path, pipeline=stock)


def test_the_folder_s_loader_is_refused_elsewhere(shapes_root: Path) -> None:
    prefix = {"img_path": "images/train", "seg_map_path": "annotations/train"}
    cfg = {"type": "mmattn.ShapesDataset", "data_root": str(shapes_root), "data_prefix": prefix}
    init_default_scope("mmseg")
    with pytest.raises(ConfigError, match="write dict"):
        DATASETS.build({**cfg, "pipeline": PIPELINE})[0]


# --- real and generated data ---------------------------------------------------------------------


def test_the_generated_shapes_as_a_folder(shapes_root: Path, repo: Path) -> None:
    """The labels are those that the shapes' own dataset gives."""
    cfg = Config.fromfile(repo / "configs/_base_/datasets/shapes_semantic.py").train_dataloader
    init_default_scope("mmseg")
    own = DATASETS.build({**cfg.dataset, "data_root": str(shapes_root), "pipeline": [
        {"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"},
    ]})  # fmt: skip
    ours = build(shapes_root, split="train")
    assert len(ours) == len(own) == 8
    for a, b in zip(ours, own, strict=True):
        assert a["data_samples"].img_path == b["data_samples"].img_path
        assert (a["data_samples"].gt_sem_seg.data == b["data_samples"].gt_sem_seg.data).all()


def test_camvid_as_a_folder(shared_data: Path, tmp_path: Path) -> None:
    """Eleven names and "ignore" are all that CamVid's own dataset knows."""
    from mmattn.data import CamVidDataset

    names = [*CamVidDataset.METAINFO["classes"], "ignore"]
    (tmp_path / "classes.json").write_text(json.dumps(names))
    folder = build(shared_data / "camvid", split="val", classes_file=str(tmp_path / "classes.json"))
    prefix = {"img_path": "images/val", "seg_map_path": "annotations/val"}
    own = CamVidDataset(data_root=str(shared_data / "camvid"), data_prefix=prefix, pipeline=[
        {"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"},
    ])  # fmt: skip
    assert len(folder) == len(own) == 101
    for index in (0, 50, 100):
        assert (
            folder[index]["data_samples"].gt_sem_seg.data
            == own[index]["data_samples"].gt_sem_seg.data
        ).all()
