"""The segmentation metric gives mmseg's numbers, keeps each class, and counts every pixel."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric

from mmattn.errors import ConfigError, DataError
from mmattn.evaluation import ClasswiseIoUMetric, claimed_files
from mmattn.evaluation.semantic.boundary import boundary_areas, clean_label_maps, outline_hits

CLASSES = ("a", "b", "c", "d")
EVERYTHING = ["mIoU", "mDice", "mFscore", "mBoundaryIoU", "mBoundaryF"]


def samples(seed: int, *, labels: tuple[int, ...] = (0, 1, 2, 255)) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    images = []
    for index in range(5):
        truth = torch.tensor(labels)[torch.randint(len(labels), (1, 9, 13), generator=generator)]
        guess = torch.where(
            torch.rand(1, 9, 13, generator=generator) < 0.6,
            truth.clamp(max=2),
            torch.randint(3, (1, 9, 13), generator=generator),
        )
        images.append(
            {
                "pred_sem_seg": {"data": guess},
                "gt_sem_seg": {"data": truth},
                "img_path": f"{index}.png",
            }
        )
    return images


def one_image(truth: list[list[int]], guess: list[list[int]]) -> dict:
    return {
        "pred_sem_seg": {"data": torch.tensor([guess])},
        "gt_sem_seg": {"data": torch.tensor([truth])},
        "img_path": "one.png",
    }


def evaluated(metric, images: list[dict]) -> dict[str, float]:
    metric.dataset_meta = {"classes": CLASSES}
    metric.process({}, images)
    return metric.evaluate(len(images))


@pytest.mark.parametrize("iou_metrics", [["mIoU"], "mIoU", ["mIoU", "mDice", "mFscore"]])
@pytest.mark.parametrize("nan_to_num", [None, 0])
@pytest.mark.parametrize("labels", [(0, 1, 2, 255), (0, 1, 2, 3, 9, 255)])
def test_same_results_as_upstream(
    iou_metrics: list[str] | str, nan_to_num: int | None, labels: tuple[int, ...]
) -> None:
    options = {"iou_metrics": iou_metrics, "nan_to_num": nan_to_num, "beta": 2}
    theirs = evaluated(IoUMetric(**options), samples(3, labels=labels))
    ours = evaluated(ClasswiseIoUMetric(**options), samples(3, labels=labels))
    # Upstream rounds single precision to two decimals.
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert list(ours) == list(theirs)


def test_each_class_equals_a_plain_count() -> None:
    metric = ClasswiseIoUMetric()
    images = samples(7)
    evaluated(metric, images)
    (table,) = metric.class_tables
    truth = torch.cat([p["gt_sem_seg"]["data"].flatten() for p in images])
    guess = torch.cat([p["pred_sem_seg"]["data"].flatten() for p in images])[truth != 255]
    truth = truth[truth != 255]
    for label, name in enumerate(CLASSES[:3]):
        both = ((truth == label) & (guess == label)).sum().item()
        either = ((truth == label) | (guess == label)).sum().item()
        accuracy = both / (truth == label).sum().item()
        assert table.rows[name] == pytest.approx([100 * both / either, 100 * accuracy])
        for other in range(3):
            pair = ((truth == label) & (guess == other)).sum().item()
            assert metric.confusion[label, other] == pair
    assert table.absent == {"d"}
    assert math.isnan(table.rows["d"][0])


def test_the_table_says_how_the_mean_treats_absent_classes() -> None:
    """c is not labelled but predicted: IoU 0, in the mean. d is neither: left out."""
    metric = ClasswiseIoUMetric()
    result = evaluated(metric, [one_image([[0, 0, 1, 1]], [[0, 2, 1, 1]])])
    (table,) = metric.class_tables
    assert table.absent == {"c", "d"}
    assert table.rows["c"][0] == 0
    assert math.isnan(table.rows["c"][1])
    assert math.isnan(table.rows["d"][0])
    assert result["mIoU"] == pytest.approx((50 + 100 + 0) / 3, abs=0.01)
    assert result["mAcc"] == pytest.approx((50 + 100) / 2)
    assert "leaves '-' out" in table.to_text()
    evaluated(metric, [one_image([[0, 1, 2, 3]], [[0, 1, 2, 3]])])
    assert "leaves" not in metric.class_tables[0].to_text()


def test_boundary_scores_are_ratios_of_summed_counts() -> None:
    metric = ClasswiseIoUMetric(
        iou_metrics=["mBoundaryIoU", "mBoundaryF"], boundary_width=2, boundary_tolerance=1
    )
    images = samples(5)
    result = evaluated(metric, images)
    maps = [
        clean_label_maps(
            p["gt_sem_seg"]["data"][0].numpy(), p["pred_sem_seg"]["data"][0].numpy(), 4, 255
        )
        for p in images
    ]
    hit, guess, truth = sum(boundary_areas(*one, 4, 2) for one in maps).astype(float)
    guess_hit, guesses, truth_hit, truths = sum(outline_hits(*one, 4, 1) for one in maps)
    (table,) = metric.class_tables
    assert table.columns == ("BoundaryIoU", "BoundaryF")
    wanted = []
    for c in range(3):
        precision, recall = guess_hit[c] / guesses[c], truth_hit[c] / truths[c]
        wanted.append(
            [
                100 * hit[c] / (guess[c] + truth[c] - hit[c]),
                100 * 2 * precision * recall / (precision + recall),
            ]
        )
        assert table.rows[CLASSES[c]] == pytest.approx(wanted[-1])
    assert result["mBoundaryIoU"] == pytest.approx(np.mean(wanted, axis=0)[0], abs=0.006)
    assert result["mBoundaryF"] == pytest.approx(np.mean(wanted, axis=0)[1], abs=0.006)


def test_outlines_that_never_meet_score_zero_and_no_outlines_score_nothing() -> None:
    metric = ClasswiseIoUMetric(iou_metrics=["mBoundaryF"])
    truth, guess = np.zeros((2, 40, 40), int)
    truth[2:6, 2:6] = 1
    guess[30:34, 30:34] = 1
    evaluated(metric, [one_image(truth.tolist(), guess.tolist())])
    (table,) = metric.class_tables
    assert table.rows["b"] == [0.0]
    assert math.isnan(table.rows["c"][0])


def test_single_pixels_count_beyond_what_float32_can_add() -> None:
    """2**24 correct pixels and then 1000 wrong ones: in float32 none of the latter would count."""
    metric = ClasswiseIoUMetric()
    big = torch.zeros((1, 4096, 4096), dtype=torch.uint8)
    images = [{"pred_sem_seg": {"data": big}, "gt_sem_seg": {"data": big}, "img_path": "big"}]
    wrong = one_image([[0]], [[1]])
    evaluated(metric, images + [{**wrong, "img_path": str(i)} for i in range(1000)])
    share = metric.class_tables[0].rows["a"][0] / 100
    assert share == pytest.approx(2**24 / (2**24 + 1000), rel=1e-12)


def with_logits(images: list[dict]) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    for one in images:
        logits = torch.randn((4, 9, 13), generator=generator)
        one["seg_logits"] = {"data": logits}
        one["pred_sem_seg"] = {"data": logits.argmax(0, keepdim=True)}
    return images


def test_the_order_of_images_changes_nothing() -> None:
    options = {"iou_metrics": EVERYTHING, "calibration": 15, "bootstrap": 100, "worst": 2}
    images = with_logits(samples(11))
    first, second = ClasswiseIoUMetric(**options), ClasswiseIoUMetric(**options)
    assert evaluated(first, images) == evaluated(second, images[::-1])
    assert [t.to_text() for t in first.class_tables] == [t.to_text() for t in second.class_tables]
    assert np.array_equal(first.confusion, second.confusion)
    assert np.array_equal(first.areas, second.areas[::-1])
    for one, other in zip(first.worst_images, second.worst_images, strict=True):
        assert (one.name, one.label_maps) == (other.name, other.label_maps)


def test_intervals_hold_the_values() -> None:
    metric = ClasswiseIoUMetric(bootstrap=200)
    result = evaluated(metric, samples(2))
    scores, intervals = metric.class_tables
    assert intervals.columns == ("IoU low", "IoU high", "Acc low", "Acc high")
    assert result["mIoU_low"] < result["mIoU"] < result["mIoU_high"]
    assert result["aAcc_low"] < result["aAcc"] < result["aAcc_high"]
    for name in CLASSES[:3]:
        low, high, *_ = intervals.rows[name]
        assert low < scores.rows[name][0] < high


def test_calibration_needs_logits_that_belong_to_the_prediction() -> None:
    metric = ClasswiseIoUMetric(calibration=15)
    assert 0 < evaluated(metric, with_logits(samples(1)))["ECE"] < 100
    with pytest.raises(ConfigError, match="keep_logits"):
        evaluated(ClasswiseIoUMetric(calibration=15), samples(1))
    other = with_logits(samples(1))
    other[0]["pred_sem_seg"]["data"] = (other[0]["pred_sem_seg"]["data"] + 1) % 4
    with pytest.raises(ConfigError, match=r"0\.png.*test-time augmentation"):
        evaluated(ClasswiseIoUMetric(calibration=15), other)


def test_worst_images_are_those_of_lowest_mean_iou_and_only_they_keep_label_maps() -> None:
    metric = ClasswiseIoUMetric(worst=2, best=0)
    metric.dataset_meta = {"classes": CLASSES}
    images = samples(9)
    metric.process({}, images)
    assert sum(one.label_maps is not None for one in metric.results) == 3, "one is kept in reserve"
    results = list(metric.results)
    metric.evaluate(len(images))

    def mean_iou(image: dict) -> float:
        truth, guess = image["gt_sem_seg"]["data"], image["pred_sem_seg"]["data"]
        guess, truth = guess[truth != 255], truth[truth != 255]
        seen = set(truth.tolist()) | set(guess.tolist())
        values = [
            ((truth == c) & (guess == c)).sum() / ((truth == c) | (guess == c)).sum() for c in seen
        ]
        return float(sum(values) / len(values))

    expected = sorted(images, key=mean_iou)
    assert [one.name for one in metric.worst_images] == [p["img_path"] for p in expected[:2]]
    assert metric.worst_images[0].mean_iou == pytest.approx(mean_iou(expected[0]))
    # A new evaluation starts anew.
    metric.process({}, images)
    assert sum(one.label_maps is not None for one in metric.results) == 3
    assert sum(one.label_maps is not None for one in results) == 3


class Heard(logging.Handler):
    """Keeps what is logged about values that are no class."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "no class" in record.getMessage():
            self.lines.append(record.getMessage())


def test_what_is_no_class_is_told_with_its_image() -> None:
    logger, heard = MMLogger.get_current_instance(), Heard()
    logger.addHandler(heard)
    try:
        metric = ClasswiseIoUMetric()
        evaluated(metric, [one_image([[0, 77, 1, 255]], [[0, 0, 1, 1]])])
        (line,) = heard.lines
        assert "1 pixels are labelled as no class" in line
        assert "one.png" in line
        evaluated(metric, [one_image([[0, 1]], [[0, -1]])])
        assert "1 pixels are predicted as no class" in heard.lines[1]
        evaluated(metric, [one_image([[0, 255]], [[0, 1]])])
        assert len(heard.lines) == 2
    finally:
        logger.removeHandler(heard)


def test_sizes_that_differ_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"one\.png.*\(1, 2\).*\(1, 3\)"):
        evaluated(ClasswiseIoUMetric(), [one_image([[0, 0]], [[0, 0, 0]])])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iou_metrics": ["mIoU", "mDise"]}, "mDice"),
        ({"boundary_width": 0}, "boundary_width=0"),
        ({"boundary_tolerance": 1.5}, "boundary_tolerance=1.5"),
        ({"bootstrap": -1}, "bootstrap=-1"),
        ({"calibration": True}, "calibration=True"),
    ],
)
def test_invalid_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClasswiseIoUMetric(**options)


@pytest.mark.parametrize("count", [4, 300])
def test_predictions_are_written_with_every_class(count: int, tmp_path: Path) -> None:
    metric = ClasswiseIoUMetric(output_dir=str(tmp_path / "out"), format_only=True)
    metric.dataset_meta = {"classes": tuple(map(str, range(count)))}
    guess = torch.arange(count).reshape(1, 2, -1)
    metric.process({}, [{"pred_sem_seg": {"data": guess}, "img_path": "some/where.jpg"}])
    written = cv2.imread(str(tmp_path / "out/where.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(written, guess[0])
    zero_based = {"pred_sem_seg": {"data": guess[:, :, :1]}, "img_path": "b.jpg"}
    metric.process({}, [{**zero_based, "reduce_zero_label": True}])
    written = cv2.imread(str(tmp_path / "out/b.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(written, guess[0, :, :1] + 1), "as the files of the dataset count"


def test_label_maps_of_one_name_are_refused(tmp_path: Path, monkeypatch) -> None:
    def writes(metric: ClasswiseIoUMetric, image: str) -> None:
        guess = torch.zeros(1, 2, 2, dtype=torch.int64)
        metric.process({}, [{"pred_sem_seg": {"data": guess}, "img_path": image}])

    metric = ClasswiseIoUMetric(output_dir=str(tmp_path), format_only=True)
    metric.dataset_meta = {"classes": CLASSES}
    writes(metric, "x/im.jpg")
    writes(metric, "x/im.jpg")  # as a sampler that fills a batch up may repeat it
    refusal = rf"y/im\.jpg and x/im\.jpg.*{tmp_path}/im\.png"
    with pytest.raises(DataError, match=refusal):
        writes(metric, "y/im.jpg")
    metric.evaluate(1)
    theirs = {str(tmp_path / "im.png"): "y/im.jpg"}  # of a process that runs beside this one
    monkeypatch.setattr(claimed_files, "all_gather_object", lambda mine: [mine, theirs])
    with pytest.raises(DataError, match=refusal):
        metric.evaluate(1)


def test_binary_networks_predict_floating_point_masks() -> None:
    image = one_image([[0, 1, 1, 1]], [[0, 1, 0, 1]])
    image["pred_sem_seg"]["data"] = image["pred_sem_seg"]["data"].float()
    metric = ClasswiseIoUMetric()
    assert evaluated(metric, [image])["aAcc"] == 75
