"""A mosaic drawn in one interpolation shows what its two-step form shows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from mmdet.structures.bbox import HorizontalBoxes

from mmattn.data.datasets.multi_image_mix import MultiImageMixDataset
from mmattn.data.transforms import BetaMixUp, FlipCopyPaste, MosaicAffine
from mmattn.data.transforms.affine import RandomAffineRange, map_boxes, worth_keeping
from mmattn.data.transforms.mosaic_affine import draw_warped
from mmattn.errors import ConfigError

WIDTH, HEIGHT = 160, 128


def sample(seed: int, size: tuple[int, int] = (96, 120), boxes: Any = None) -> dict:
    """Make a smooth image, which interpolates well, with two boxes and their masks."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    if boxes is None:
        boxes = [[10, 20, 50, 60], [60, 30, 110, 90]]
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    return {
        "img": cv2.GaussianBlur(noise, (0, 0), 6),
        "img_path": f"{seed}.jpg",
        "gt_bboxes": HorizontalBoxes(boxes),
        "gt_bboxes_labels": np.arange(len(boxes)),
        "gt_ignore_flags": np.zeros(len(boxes), bool),
        "instances": [
            {"mask": [[x1, y1, x2, y1, x2, y2, x1, y2]]} for x1, y1, x2, y2 in boxes.tolist()
        ],
    }


def mosaic(transform: MosaicAffine, samples: list[dict]) -> dict:
    first, *others = ({**one, "gt_bboxes": one["gt_bboxes"].clone()} for one in samples)
    return transform({**first, "mix_results": others})


def two_step(transform: MosaicAffine, samples: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Resize, lay on a canvas, then warp the canvas: the form that one would write first."""
    canvas, placements = transform._place([one["img"].shape[:2] for one in samples])
    shown = np.full((canvas[1], canvas[0], 3), 114, np.uint8)
    for one, placement in zip(samples, placements, strict=True):
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrix = np.linalg.inv(half) @ placement @ half
        warped = cv2.warpAffine(one["img"], matrix[:2], canvas, borderMode=cv2.BORDER_REPLICATE)
        inside = cv2.warpAffine(np.ones(one["img"].shape[:2]), matrix[:2], canvas) > 0.5
        shown[inside] = warped[inside]
    matrix = transform.affine.draw(canvas, (transform.width, transform.height))
    size = (transform.width, transform.height)
    boxes = []
    for one, placement in zip(samples, placements, strict=True):
        on_canvas = map_boxes(placement, one["gt_bboxes"].tensor.numpy())
        boxes.append(np.clip(on_canvas, 0, [*canvas, *canvas]))
    moved = map_boxes(matrix, np.concatenate(boxes))
    clipped = np.clip(moved, 0, [*size, *size])
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(half) @ matrix @ half
    image = cv2.warpAffine(shown, matrix[:2], size, borderValue=(114,) * 3)
    return image, clipped[worth_keeping(moved, clipped)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "affine", [{"scale": 0.0, "translate": 0.0}, {"scale": 0.5}, {"degrees": 20.0, "shear": 5.0}]
)
@pytest.mark.parametrize("count", [1, 4])
def test_shows_what_two_steps_show(seed: int, affine: dict, count: int) -> None:
    transform = MosaicAffine((WIDTH, HEIGHT), affine=affine)
    sizes = [(96, 120), (100, 60), (300, 400), (33, 47)][:count]
    samples = [sample(index, size) for index, size in enumerate(sizes)]
    np.random.seed(seed)
    expected, boxes = two_step(transform, samples)
    np.random.seed(seed)
    result = mosaic(transform, samples)
    assert result["img"].shape == (HEIGHT, WIDTH, 3) and result["img_shape"] == (HEIGHT, WIDTH)
    np.testing.assert_allclose(result["gt_bboxes"].tensor.numpy(), boxes, atol=1e-3)
    difference = np.abs(result["img"].astype(int) - expected.astype(int))
    # Edges of the images differ: there the two steps blend with grey, the one step does not.
    assert (difference > 12).any(-1).mean() < 0.12
    assert np.median(difference) <= 2


def test_a_box_holds_the_pixels_that_it_held_in_its_image() -> None:
    image = np.full((100, 100, 3), 30, np.uint8)
    image[40:61, 40:61] = 220
    transform = MosaicAffine((200, 200), affine={"scale": 0.5})
    seen = 0
    for seed in range(20):
        np.random.seed(seed)
        marked = {**sample(0, boxes=[[40, 40, 61, 61]]), "img": image}
        marked["gt_bboxes_labels"] = np.array([9])
        result = mosaic(transform, [marked, sample(1), sample(2), sample(3)])
        for box in result["gt_bboxes"].tensor.numpy()[result["gt_bboxes_labels"] == 9]:
            x1, y1, x2, y2 = box.round().astype(int)
            inside = result["img"][y1 + 2 : y2 - 2, x1 + 2 : x2 - 2]
            assert inside.size and inside.min() > 200
            row = result["img"][y1:y2]
            around = [row[:, max(x1 - 6, 0) : max(x1 - 3, 0)], row[:, x2 + 3 : x2 + 6]]
            seen += sum(bool(strip.size) for strip in around)
            assert all(strip.max() <= 115 for strip in around if strip.size)
    assert seen > 10


def test_one_image_lies_in_the_middle_with_grey_around() -> None:
    transform = MosaicAffine((100, 100), prob=0, affine={"scale": 0, "translate": 0})
    assert transform.get_indexes(range(9)) == []
    white = {**sample(0, boxes=[[0, 0, 40, 20]]), "img": np.full((20, 40, 3), 255, np.uint8)}
    result = mosaic(transform, [white])
    assert result["gt_bboxes"].tensor.tolist() == [[0, 25, 100, 75]]
    assert (result["img"][26:74] == 255).all()
    assert (result["img"][:24] == 114).all() and (result["img"][76:] == 114).all()


def test_shrinking_averages_and_does_not_skip_pixels() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::4] = 255  # a quarter is white
    output = np.zeros((50, 50, 3), np.uint8)
    placement = np.diag([0.125, 0.125, 1.0])
    draw_warped(stripes, placement, (50, 50), np.eye(3), output)
    assert np.abs(output[5:45, 5:45].astype(int) - 64).max() < 8


def test_boxes_that_are_hardly_seen_are_left_out_with_their_labels() -> None:
    whole = np.array([[0, 0, 10, 10], [-95, 0, 5, 10], [0, 0, 2, 10], [0, 0, 300, 2.5]], float)
    clipped = np.clip(whole, 0, 1000)
    assert worth_keeping(whole, clipped).tolist() == [True, False, False, False]


def test_an_image_without_boxes_passes() -> None:
    transform = MosaicAffine((64, 64))
    result = mosaic(transform, [sample(index, boxes=[]) for index in range(4)])
    assert result["gt_bboxes"].tensor.shape == (0, 4) and len(result["gt_bboxes_labels"]) == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"prob": 1.5}, "prob=1.5"), ({"scale": (640,)}, "scale"), ({"affine": {"zoom": 2}}, "zoom"),
     ({"affine": {"scale": 1.0}}, "affine.scale=1.0")],
)  # fmt: skip
def test_arguments_out_of_range_are_named(arguments: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        MosaicAffine(**arguments)


class Images:
    """The part of mmdet's datasets that ``MultiImageMixDataset`` calls."""

    metainfo: dict = {}

    def full_init(self) -> None: ...

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return sample(index)


def mixed(pipeline: list[dict], monkeypatch: pytest.MonkeyPatch) -> MultiImageMixDataset:
    from mmdet.registry import DATASETS

    monkeypatch.setitem(DATASETS._module_dict, "Images", Images)
    return MultiImageMixDataset({"type": "Images"}, pipeline)


def test_runs_in_mmdets_wrapper_and_depends_on_the_seed_alone(monkeypatch) -> None:
    steps = [
        {"type": "mmattn.MosaicAffine", "scale": (WIDTH, HEIGHT)},
        {"type": "mmattn.FlipCopyPaste", "prob": 0.5},
    ]
    blend = {"type": "mmattn.BetaMixUp", "transforms": steps, "prob": 0.5}
    colour = [{"type": "mmattn.HSVGain"}, {"type": "mmattn.RareImageChanges", "prob": 0.5}]
    dataset = mixed([*steps, blend, *colour], monkeypatch)
    drawn = []
    for _ in range(2):
        np.random.seed(3)
        drawn.append([dataset[index] for index in range(8)])
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first["img"], second["img"])
        assert first["gt_bboxes"].tensor.equal(second["gt_bboxes"].tensor)
    assert {one["img"].shape for one in drawn[0]} == {(HEIGHT, WIDTH, 3)}
    assert all(
        len(one["gt_bboxes"]) == len(one["gt_bboxes_labels"]) == len(one["gt_ignore_flags"])
        for one in drawn[0]
    )
    assert len({len(one["gt_bboxes"]) for one in drawn[0]}) > 1


def test_blending_needs_the_same_size_and_one_mixing_step() -> None:
    step = {"type": "mmattn.MosaicAffine", "scale": (64, 64)}
    with pytest.raises(ConfigError, match="first alone may mix"):
        BetaMixUp([{"type": "mmattn.HSVGain"}, step])
    blend = BetaMixUp([step], prob=1.0)
    with pytest.raises(ConfigError, match="cannot be blended"):
        blend({**sample(0), "mix_results": [sample(index) for index in range(4)]})


def test_blending_joins_boxes_and_mixes_near_one_half() -> None:
    black = {**sample(0), "img": np.zeros((64, 64, 3), np.uint8)}
    white = {**sample(1), "img": np.full((64, 64, 3), 255, np.uint8)}
    np.random.seed(0)
    result = BetaMixUp([], prob=1.0)({**black, "mix_results": [white]})
    assert len(result["gt_bboxes"]) == 4
    assert len(np.unique(result["img"])) == 1 and 80 < result["img"][0, 0, 0] < 175


def test_copy_paste_needs_masks() -> None:
    plain = {**sample(0), "stored_masks": [None, None]}
    before = plain["img"].copy()
    result = FlipCopyPaste(1.0)(plain)
    assert len(result["gt_bboxes"]) == 2
    np.testing.assert_array_equal(result["img"], before)


def test_a_range_keeps_the_middle_in_the_middle() -> None:
    matrix = RandomAffineRange(translate=0, scale=0.3, degrees=10).draw((200, 100), (64, 32))
    np.testing.assert_allclose(matrix @ [100, 50, 1], [32, 16, 1])


@pytest.mark.parametrize("step", [MosaicAffine((64, 64)), BetaMixUp([], prob=1.0)])
def test_an_image_loaded_without_boxes_is_refused_with_the_step_to_write(step: Any) -> None:
    for missing in ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags"):
        images = [sample(0), sample(1)]
        del images[1][missing]
        with pytest.raises(ConfigError, match=rf"1\.jpg has no {missing}: .*mmdet.LoadAnnotations"):
            step({**images[0], "mix_results": [images[1]] * 3})


@pytest.mark.parametrize("key", ["gt_masks", "gt_seg_map"])
def test_what_would_stay_behind_the_moved_image_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} of 0.jpg would stay behind"):
        MosaicAffine((64, 64))({**sample(0), key: object()})


def test_masks_go_where_a_step_before_the_mosaic_did_not_take_them() -> None:
    """Resize scales boxes and leaves the masks of the annotations as they are."""
    transform = MosaicAffine((WIDTH, HEIGHT), prob=0, affine={"scale": 0.0, "translate": 0.0})
    loaded = sample(0)
    for instance, box in zip(loaded["instances"], loaded["gt_bboxes"].tensor.tolist(), strict=True):
        instance["bbox"] = box
    assert all(mosaic(transform, [loaded])["stored_masks"])
    loaded["gt_bboxes"].rescale_((0.5, 0.5))
    result = mosaic(transform, [loaded])
    assert result["stored_masks"] is None
    with pytest.raises(ConfigError, match="do not follow"):
        FlipCopyPaste(prob=1.0)(result)
