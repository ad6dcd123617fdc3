"""The verdicts' own error rate, on made-up runs whose truth is known, and the made-up runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmattn.compare import host_pairs, measure_error_rate
from mmattn.compare.error_rate import (
    GAIN,
    LARGEST_FALSE,
    SMALLEST_FOUND,
    Rate,
    called_different,
    called_higher,
    intraclass_correlation,
    simulate,
    simulation_page,
    with_gain,
)
from mmattn.compare.host_pairs import write_error_rate
from mmattn.compare.image_counts import area_metric
from mmattn.compare.plan import Comparison
from mmattn.compare.simulated_runs import Scene, draw_run, draw_scene
from mmattn.compare.statistics import decide
from mmattn.compare.variants import Variant
from mmattn.errors import ConfigError
from tests.support.comparison_configs import FCN, RETINANET

SEEDS = 5  # the default of ``mmattn compare``


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_equal_networks_are_not_called_different(seed: int) -> None:
    """The promise, light: 60 pairs; the slow test has all 200."""
    pairs = simulate(60, SEEDS, seed=seed, resamples=400)
    assert called_different(pairs).share <= LARGEST_FALSE


def test_a_known_gain_is_found() -> None:
    pairs = simulate(40, SEEDS, GAIN, resamples=400)
    assert called_higher(pairs).share >= SMALLEST_FOUND
    assert np.mean([pair.difference.mean for pair in pairs]) == pytest.approx(GAIN, abs=0.4)


@pytest.mark.slow
def test_the_promise_of_two_hundred_pairs() -> None:
    """What ``mmattn compare --error-rate`` prints, for the default number of seeds."""
    assert called_different(simulate(200, SEEDS)).share <= LARGEST_FALSE
    assert called_higher(simulate(200, SEEDS, GAIN)).share >= SMALLEST_FOUND


def test_images_alone_would_cry_wolf() -> None:
    """The bootstrap of one comparison's images does not know that other seeds would differ."""
    pairs = simulate(40, SEEDS, resamples=400)
    by_images = np.mean([pair.difference.p_images < 0.05 for pair in pairs])
    assert by_images > 2 * LARGEST_FALSE


def test_a_pair_does_not_depend_on_how_many_there_are() -> None:
    few, more = simulate(2, 3, resamples=50), simulate(4, 3, resamples=50)
    assert [pair.difference for pair in few] == [pair.difference for pair in more[:2]]
    assert simulate(2, 3, seed=1, resamples=50)[0] != few[0]


def test_made_up_runs_vary_as_their_scene_says() -> None:
    """Spread between seeds, and intraclass correlation over images, measured from the counts."""
    scene = Scene(images=300, classes=3, icc=0.7, seed_sd=1.5)
    generator = np.random.default_rng(0)
    drawn = draw_scene(scene, generator)
    runs = [draw_run(scene, drawn, generator) for _ in range(60)]
    assert np.std([run.value("mIoU") for run in runs], ddof=1) == pytest.approx(1.5, rel=0.35)
    scores = []
    for run in runs:
        # Class by class the counts are rounded; the logit of the first class gives image and noise.
        hit, labelled = run.areas[:, 0].sum(axis=1), run.areas[:, 3].sum(axis=1)
        rate = np.where(labelled > 0, hit / np.maximum(labelled, 1), 0.8)
        scores.append(np.log(rate / (1 - rate)))
    # Which classes an image has makes it hard as well, so images are a little further apart.
    assert 0.65 < intraclass_correlation(np.stack(scores)) < 0.95


def test_counts_of_a_made_up_run_add_up() -> None:
    scene = Scene(images=5)
    generator = np.random.default_rng(0)
    hit, union, predicted, labelled = np.moveaxis(
        draw_run(scene, draw_scene(scene, generator), generator).areas, 1, 0
    )
    assert (hit <= np.minimum(labelled, predicted)).all()
    assert (union == labelled + predicted - hit).all()


def test_the_intraclass_correlation_by_hand() -> None:
    """Two runs on three images: BMS = 8, EMS = 0.25, so (8 - 0.25) / (8 + 0.25)."""
    scores = np.array([[1.0, 3.0, 5.0], [1.5, 2.5, 5.5]])
    between = 2 * np.var(scores.mean(0), ddof=1)
    rest = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    error = (rest**2).sum() / 2
    expected = (between - error) / (between + error)
    assert intraclass_correlation(scores) == pytest.approx(expected)
    same = np.array([[1.0, 2.0, 4.0]] * 3)
    assert intraclass_correlation(same) == pytest.approx(1.0)
    shifted = same + np.array([[0.0], [5.0], [9.0]])
    assert intraclass_correlation(shifted) == pytest.approx(1.0), "runs as a whole may differ"


def test_a_known_gain_mends_what_was_wrong() -> None:
    counts = np.array([[[80], [130], [110], [100]]])
    assert with_gain(counts, 0.5).tolist() == [[[90], [115], [105], [100]]]
    assert with_gain(counts, 1.0).tolist() == [[[100], [100], [100], [100]]]
    assert (with_gain(counts, 0.0) == counts).all()
    assert area_metric(with_gain(counts, 0.5)[0], "mIoU") == pytest.approx(100 * 90 / 115)


def test_a_rate_knows_how_uncertain_it_is() -> None:
    """Clopper and Pearson's table: none of 20 is 0 to 16.8 %, one of 20 is 0.1 to 24.9 %."""
    assert Rate(0, 20).interval == pytest.approx((0.0, 0.1684), abs=1e-4)
    assert Rate(1, 20).interval == pytest.approx((0.0013, 0.2487), abs=1e-4)
    assert Rate(20, 20).interval == pytest.approx((0.8316, 1.0), abs=1e-4)
    assert str(Rate(1, 20)) == "1 of 20 = 5.0% [0.1%, 24.9%]"


def test_the_page_has_a_row_for_each_number_of_seeds() -> None:
    text = simulation_page(2)
    assert "2 pairs in each cell" in text and "intraclass correlation" in text
    assert [line.split("|")[1].strip() for line in text.splitlines() if line[:3] in
            ("| 3", "| 4", "| 5", "| 6")] == ["3", "4", "5", "6"]  # fmt: skip


def test_verdicts_of_a_row_that_is_not_there() -> None:
    assert decide([]) == []


def test_runs_of_a_network_are_paired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without labels has no score, and a run without result is told."""
    monkeypatch.setattr(host_pairs, "RANDOM_PAIRS", 3)
    scene, generator = Scene(images=12, classes=3), np.random.default_rng(0)
    drawn = draw_scene(scene, generator)
    drawn.labelled[0] = 0
    comparison = Comparison(
        *("a.py", Config(), (Variant("none"),), (), 7, "9it", tmp_path / "work"), iterations=9
    )
    for seed in range(7):
        folder = comparison.run_dir(comparison.variants[0], seed)
        folder.mkdir(parents=True)
        result = {"commit": "abc"} | ({"failure": "the loss is nan"} if seed == 6 else {})
        (folder / "result.json").write_text(json.dumps(result))
        if seed < 6:
            np.savez(folder / "areas.npz", areas=draw_run(scene, drawn, generator).areas)
    page = write_error_rate(comparison, tmp_path, seeds=3, pairs=2, log=lambda text: None)
    text = page.read_text()
    assert "trained 6 times" in text and "- seed 6: no result, the loss is nan." in text
    assert 0 < json.loads((tmp_path / "pairs.json").read_text())["facts"]["icc"] <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 1}, r"--seeds 1: a verdict needs"),
        ({"pairs": 0}, r"--pairs 0: must be at least 1"),
        ({"hosts": 5}, r"--hosts: 5 runs, but a pair of 3 seeds needs 6"),
        ({"pairs": 400}, r"--hosts: 2400 runs, .* at most 1000"),
        ({"metric": "mIou"}, r"--metric mIou: .*Did you mean 'mIoU'"),
        ({"config": RETINANET}, r"is of object detection.*with segmentors"),
    ],
)
def test_a_mistake_stops_before_a_network_is_trained(changes: dict, message: str) -> None:
    arguments = {"config": FCN, "budget": "5it", "seeds": 3, "pairs": 1} | changes
    with pytest.raises(ConfigError, match=message):
        measure_error_rate(**arguments)
