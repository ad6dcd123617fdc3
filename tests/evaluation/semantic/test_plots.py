"""Plots of an evaluation show what was counted, and survive odd inputs."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import torch

from mmattn.evaluation import ClasswiseIoUMetric
from mmattn.evaluation.semantic.plots import save_confusion
from mmattn.evaluation.semantic.worst_images import decode_label_map, encode_label_map

CLASSES = ("sky", "road", "tree")
PALETTE = [(10, 200, 250), (250, 10, 10), (10, 250, 10)]


def evaluated(folder: Path, **options) -> ClasswiseIoUMetric:
    """Two images, one predicted rightly and one wrongly."""
    metric = ClasswiseIoUMetric(**options)
    metric.dataset_meta = {"classes": CLASSES, "palette": PALETTE}
    truth = torch.zeros((1, 40, 60), dtype=torch.int64)
    truth[:, 20:] = 1
    for name, guess in (("good", truth), ("bad", 1 - truth)):
        file = folder / f"{name}.png"
        cv2.imwrite(str(file), np.full((40, 60, 3), 128, np.uint8))
        sample = {
            "pred_sem_seg": {"data": guess},
            "gt_sem_seg": {"data": truth},
            "img_path": str(file),
        }
        metric.process({}, [sample])
    metric.evaluate(2)
    return metric


def test_files_of_an_evaluation(tmp_path: Path) -> None:
    metric = evaluated(tmp_path, worst=1)
    files = metric.save_plots(tmp_path / "new", "val")
    assert [file.name for file in files] == [
        *("confusion_val.png", "confusion_val.csv", "best_val.png", "worst_val.png")
    ]
    with files[1].open(newline="") as lines:
        head, *rows = csv.reader(lines)
    assert head == ["labelled / predicted", *CLASSES]
    assert [row[0] for row in rows] == list(CLASSES)
    counts = np.array([row[1:] for row in rows], int)
    assert counts.tolist() == [[1200, 1200, 0], [1200, 1200, 0], [0, 0, 0]]
    for file in (files[0], *files[2:]):
        assert cv2.imread(str(file)) is not None


def test_the_worst_image_is_shown_with_ground_truth_and_prediction(tmp_path: Path) -> None:
    metric = evaluated(tmp_path, worst=1)
    *_, file = metric.save_plots(tmp_path, "val")
    sheet = cv2.imread(str(file))[..., ::-1].astype(int)
    # Below the heading and the title: three tiles of 320, each 60 x 40 pixels enlarged.
    tiles = [sheet[44:257, left : left + 320] for left in (0, 328, 656)]

    def colour(tile: np.ndarray, y: int) -> int:
        """0 for sky, 1 for road: the nearer one of the two blended colours."""
        blended = [0.38 * 128 + 0.62 * np.array(c) for c in PALETTE[:2]]
        pixel = tile[y, 160]
        return int(np.argmin([np.abs(pixel - c).sum() for c in blended]))

    assert (tiles[0][100, 160] == 128).all(), "the photograph"
    assert [colour(tiles[1], y) for y in (30, 180)] == [0, 1]
    assert [colour(tiles[2], y) for y in (30, 180)] == [1, 0]


def test_an_image_that_is_gone_is_grey(tmp_path: Path) -> None:
    metric = evaluated(tmp_path, worst=2)
    (tmp_path / "bad.png").unlink()
    assert metric.save_plots(tmp_path, "val")[-1].is_file()


def test_nothing_is_drawn_without_an_evaluation_and_no_image_if_unwanted(tmp_path) -> None:
    assert ClasswiseIoUMetric().save_plots(tmp_path, "val") == []
    metric = evaluated(tmp_path, worst=0, best=0, prefix="day")
    names = [file.name for file in metric.save_plots(tmp_path, "test")]
    assert names == ["confusion_day_test.png", "confusion_day_test.csv"]


def test_what_is_no_class_has_a_row_of_its_own(tmp_path: Path) -> None:
    matrix = np.array([[3, 1, 0], [0, 2, 0], [0, 4, 0]])
    _, table = save_confusion(matrix, ("a", "b"), tmp_path / "c.png")
    assert table.read_text().splitlines()[-1] == "no class,0,4,0"


def test_label_maps_are_kept_small_and_exact() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 300, (700, 1000))
    classes[::2, ::2] = -1
    kept = decode_label_map(encode_label_map(classes))
    assert kept.shape == (350, 500)
    assert (kept == 65535).all()
    small = classes[1:65, 1:601:2]
    assert np.array_equal(decode_label_map(encode_label_map(small)), small), "not thinned out"
