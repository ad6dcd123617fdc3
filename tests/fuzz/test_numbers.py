"""Properties of what is reported: counts of pixels and objects, intervals, precision."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmattn.compare.statistics import decide, difference, median_difference, std, t_interval
from mmattn.evaluation.bootstrap import (
    bootstrap_intervals,
    bootstrap_values,
    draw_with_replacement,
    percentile_interval,
    sum_drawn,
)
from mmattn.evaluation.detection.average_precision import RECALLS, precision_at_recalls
from mmattn.evaluation.detection.confusion import confusion_matrix as detected_as
from mmattn.evaluation.panoptic.quality import class_qualities, mean_quality
from mmattn.evaluation.semantic.confusion import SparseConfusion, confusion_matrix
from mmattn.evaluation.semantic.scores import class_scores, mean_over_classes
from tests.evaluation.semantic.test_confusion import by_loop
from tests.support.coco_cases import matched, random_case
from tests.support.fuzzing import seeds

numbers = st.floats(-1e6, 1e6)
samples = st.lists(numbers, min_size=1, max_size=12)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8)


# --- counts --------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-3, 300), st.integers(-3, 300)), max_size=60),
    st.integers(1, 260),
    st.sampled_from([255, 0, -1, 999]),
)
def test_pixels_are_counted_as_a_plain_loop_does(pixels, classes: int, ignored: int) -> None:
    label, predicted = torch.tensor(pixels, dtype=torch.int64).reshape(-1, 2).unbind(1)
    expected = by_loop(label, predicted, classes, ignored)
    assert torch.equal(confusion_matrix(label, predicted, classes, ignored), expected)


@given(seeds, st.integers(1, 30), st.integers(1, 4))
def test_the_sparse_form_adds_up_to_the_same_counts(seed, classes: int, images: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts, total = [], torch.zeros(classes + 1, classes + 1, dtype=torch.int64)
    for _ in range(images):
        label, predicted = torch.randint(0, classes + 2, (2, 5, 7), generator=generator)
        matrix = confusion_matrix(label, predicted, classes)
        total += matrix
        parts.append(SparseConfusion.of(matrix))
        inside = matrix[:-1, :-1]
        hit, guessed, labelled = parts[-1].areas()
        assert hit.tolist() == inside.diag().tolist()
        assert guessed.tolist() == matrix[:, :-1].sum(0).tolist()
        assert labelled.tolist() == matrix[:-1].sum(1).tolist()
    np.testing.assert_array_equal(SparseConfusion.sum_of(parts), total.numpy())


@given(seeds, st.integers(1, 9))
def test_scores_are_shares_and_defined_where_a_class_occurs(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    hit = rng.integers(0, 3, classes)
    counts = {"hit": hit, "predicted": hit + rng.integers(0, 3, classes),
              "labelled": hit + rng.integers(0, 3, classes)}  # fmt: skip
    scores = class_scores(counts, ["mIoU", "mDice", "mFscore"])
    union = counts["predicted"] + counts["labelled"] - hit
    np.testing.assert_array_equal(np.isnan(scores["IoU"]), union == 0)
    for values in scores.values():
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(scores["Dice"], 2 * scores["IoU"] / (1 + scores["IoU"]))
    defined = scores["IoU"][~np.isnan(scores["IoU"])]
    mean = mean_over_classes(scores["IoU"])
    assert math.isnan(mean) if not defined.size else mean == defined.sum() / defined.size


@given(seeds, st.integers(0, 10))
def test_every_object_and_every_detection_is_counted_once(seed: int, tenth: int) -> None:
    matches = matched(*random_case(seed % 2**16))
    matrix = detected_as(matches, tenth / 10)
    labels = np.bincount(matches.obj_label, minlength=matches.num_classes)
    np.testing.assert_array_equal(matrix[:-1].sum(1), labels)
    shown = matches.at(0.5)[matches.det_score >= tenth / 10]
    assert matrix[:, :-1].sum() == (shown != -2).sum()  # those in crowds count nowhere
    assert matrix[-1, -1] == 0 and (matrix >= 0).all()


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 30))
def test_precision_at_recalls_is_the_best_beyond(hits: list[bool], more: int) -> None:
    positives = sum(hits) + more
    true, points = 0, []
    for place, hit in enumerate(hits, 1):
        true += hit
        points.append((true / positives, true / place))
    expected = [max((p for r, p in points if r >= recall), default=0.0) for recall in RECALLS]
    actual = precision_at_recalls(np.array(hits, bool), positives)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
    assert (np.diff(actual) <= 1e-15).all()


@given(seeds, st.integers(1, 9))
def test_panoptic_quality_is_the_product_of_its_parts(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    tp, fp, fn = rng.integers(0, 4, (3, classes)).astype(float)
    iou = tp * rng.uniform(0.5, 1, classes)
    qualities = class_qualities(np.stack([iou, tp, fp, fn]))
    np.testing.assert_allclose(qualities[0], qualities[1] * qualities[2], rtol=1e-12)
    np.testing.assert_array_equal(np.isnan(qualities[0]), tp + fp + fn == 0)
    assert ((qualities >= 0) & (qualities <= 1) | np.isnan(qualities)).all()
    mean = mean_quality(qualities)
    assert np.isnan(mean).all() or ((mean >= 0).all() and (mean <= 1).all())


# --- intervals -----------------------------------------------------------------------------------


@given(samples, seeds)
def test_a_bootstrapped_mean_lies_among_the_values(values: list[float], seed: int) -> None:
    low, high = bootstrap_values(values, resamples=50, seed=seed)
    slack = 1e-9 * max(1, *map(abs, values))
    assert min(values) - slack <= low <= high <= max(values) + slack
    assert (low, high) == bootstrap_values(values, resamples=50, seed=seed)


@given(st.integers(1, 20), st.integers(0, 20), seeds)
def test_a_draw_has_as_many_as_there_are(count: int, draws: int, seed: int) -> None:
    times = draw_with_replacement(count, draws, np.random.default_rng(seed))
    assert times.shape == (draws, count) and (times >= 0).all()
    assert (times.sum(1) == count).all()


@given(seeds, st.integers(1, 8), st.integers(1, 5))
def test_drawn_sums_are_those_of_the_repeated_images(seed, images: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 2**40, (images, classes))
    times = draw_with_replacement(images, 3, rng)
    expected = [np.repeat(counts, row, axis=0).sum(0) for row in times]
    np.testing.assert_array_equal(sum_drawn(times, counts), expected)


@given(st.lists(st.one_of(numbers, st.just(math.nan)), min_size=1, max_size=20))
def test_a_wider_level_gives_a_wider_interval(values: list[float]) -> None:
    column = np.array(values)
    narrow, wide = percentile_interval(column, 0.5), percentile_interval(column, 0.95)
    if np.isnan(column).all():
        assert np.isnan(wide).all()
        return
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
    assert np.nanmin(column) <= wide[0] and wide[1] <= np.nanmax(column)


@given(seeds, st.integers(1, 6))
def test_equal_images_leave_no_doubt(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    row = rng.integers(1, 100, (1, 3))
    counts = {"a": np.repeat(row, images, axis=0)}
    found = bootstrap_intervals(counts, lambda c: {"x": c["a"] / c["a"].sum(1, keepdims=True)},
                                resamples=10)  # fmt: skip
    np.testing.assert_allclose(found["x"], np.repeat(row / row.sum(), 2, axis=0))


@given(samples)
def test_a_t_interval_is_around_the_mean(values: list[float]) -> None:
    interval = t_interval(values)
    if len(values) == 1:
        assert interval is None and std(values) is None
        return
    low, high = interval
    assert low <= high
    np.testing.assert_allclose((low + high) / 2, np.mean(values), atol=1e-6, rtol=1e-9)
    assert (high - low == 0) == (std(values) == 0)


@given(pairs)
def test_a_difference_turned_round_has_the_other_sign(values: list[tuple[float, float]]) -> None:
    first, second = zip(*values, strict=True)
    there, back = difference(first, second), difference(second, first)
    np.testing.assert_allclose(there.mean, -back.mean)
    if there.t_interval is not None:
        turned = [-v for v in back.t_interval[::-1]]
        np.testing.assert_allclose(there.t_interval, turned, rtol=1e-9, atol=1e-6)
    assert there.p == back.p
    opposite = {"higher": "lower", "lower": "higher"}
    words = [decide([entry])[0].word for entry in (there, back)]
    assert opposite.get(words[0], words[0]) == words[1]
    median, (low, high) = median_difference(first, second)
    assert low <= high and min(there.per_seed) <= median <= max(there.per_seed)


@given(samples)
def test_no_difference_is_never_called_one(values: list[float]) -> None:
    verdict = decide([difference(values, values)])[0].word
    assert verdict == ("one seed: no conclusion possible" if len(values) == 1 else "within noise")
