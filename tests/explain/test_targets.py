"""What is explained: words of the user, defaults, and scores of changed images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmattn.errors import ConfigError, DataError
from mmattn.explain.networks import Outputs, Sample
from mmattn.explain.pairs import matching_target
from mmattn.explain.placement import Placement
from mmattn.explain.target import Target
from mmattn.explain.targets import Wish, choose_target, parse_target

CLASSES = ["background", "car", "tree"]


def sample(padded=(8, 12), content=(8, 10), image=(16, 20)) -> Sample:
    pixels = np.zeros((*image, 3), np.uint8)
    placement = Placement(padded, content, image)
    return Sample(Path("a.png"), pixels, torch.zeros(1, 3, *padded), [], placement)


def network(kind: str = "semantic", queries: bool = False, named: bool = True):
    return SimpleNamespace(
        kind=kind,
        classes=CLASSES if named else [f"class {index}" for index in range(3)],
        has_class_names=named,
        name="net",
        has_mask_queries=queries,
        is_probability=False,
    )


def semantic() -> Outputs:
    """Background but for 6 pixels of car and 12 of padding that would be trees."""
    logits = torch.zeros(3, 8, 12)
    logits[0] = 1
    logits[1, 2:4, 3:6] = 2
    logits[2, :, 10:] = 5
    return Outputs(semantic=logits.requires_grad_())


def boxes() -> Outputs:
    return Outputs(
        boxes=torch.tensor([[0.0, 0, 4, 4], [5, 2, 9, 6], [5, 2, 8, 6]]),
        scores=torch.tensor([0.9, 0.8, 0.25]).requires_grad_(),
        labels=torch.tensor([1, 2, 1]),
    )


def choose(words: list[str], net, outputs: Outputs) -> Target:
    return choose_target(parse_target(words, CLASSES), net, outputs, sample())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["klass=car"], "expected class=.* Did you mean 'class'"),
        (["class=cat"], "no such class. Did you mean 'car'. It has background, car, tree"),
        (["class=car", "class=tree"], "class= is given twice"),
        (["pixel=3"], "expected X,Y in pixels"),
        (["query=-1"], "expected a number from 0 on"),
        (["region=5,5,2,9"], "x0 < x1"),
        (["query=1", "region=0,0,1,1"], "query= names one thing, region= cannot"),
    ],
)
def test_wrong_words_are_told(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_target(words, CLASSES)


def test_words_are_read() -> None:
    assert parse_target(["class=car", "region=1,2,3.5,4"], CLASSES) == Wish(
        label=1, region=(1, 2, 3.5, 4)
    )
    assert parse_target([], CLASSES) == Wish()


def test_the_largest_class_but_for_a_background_is_the_default() -> None:
    target = choose([], network(), semantic())
    assert target.label == 1 and int(target.region.sum()) == 6
    assert target(semantic()).item() == 2
    assert target.formula == "mean logit of 'car' over 6 pixels"
    probability = torch.tensor([1.0, 2, 0]).softmax(0)[1].item()
    assert target.score == pytest.approx(probability)
    y = target(outputs := semantic())
    (gradient,) = torch.autograd.grad(y, outputs.semantic)
    assert (gradient[1][target.region] == 1 / 6).all() and gradient.sum().item() == pytest.approx(1)


def test_the_first_class_is_the_background_where_classes_have_no_names() -> None:
    target = choose([], network(named=False), semantic())
    assert target.label == 1 and target.name == "class 1"
    assert target.chosen == (
        "the largest class here but for 'class 0', taken for the background: no names known; "
        "--target class=NAME takes another: 'class 0'"
    )
    assert "but for 'background'; --target" in choose([], network(), semantic()).chosen
    assert choose(["class=car"], network(), semantic()).chosen == ""
    alone = Outputs(semantic=torch.zeros(3, 8, 12))
    target = choose([], network(named=False), alone)
    assert target.label == 0 and target.chosen == "the only class here"


def test_a_pixel_a_region_and_a_class_that_is_not_there() -> None:
    target = choose(["pixel=7,5"], network(), semantic())  # of the image, which is twice as large
    assert target.region.nonzero().tolist() == [[2, 3]] and target.label == 1
    target = choose(["class=tree", "region=0,0,4,4"], network(), semantic())
    assert int(target.region.sum()) == 4 and target(semantic()).item() == 0
    with pytest.raises(DataError, match="'tree' is predicted nowhere, only background, car"):
        choose(["class=tree"], network(), semantic())
    with pytest.raises(DataError, match=r"a\.png has 20 columns and 16 rows"):
        choose(["pixel=20,0"], network(), semantic())


def test_detections() -> None:
    net = network("boxes")
    best = choose([], net, boxes())
    assert best.index == 0 and best.label == 1
    assert best(boxes()).item() == pytest.approx(np.log(9), abs=1e-4)
    assert choose(["class=car", "detection=1"], net, boxes()).index == 2
    assert choose(["pixel=16,8"], net, boxes()).index == 1
    assert choose(["region=10,4,16,12"], net, boxes()).index == 2
    with pytest.raises(DataError, match="3 detections, so there is no number 7"):
        choose(["detection=7"], net, boxes())
    with pytest.raises(ConfigError, match="net finds no boxes"):
        choose(["detection=0"], network(), semantic())


def test_a_side_of_a_box_is_a_share_of_the_input() -> None:
    """Of 12 columns and 8 rows, the padding included."""
    expected = {"left": 5 / 12, "right": 9 / 12, "x": 7 / 12, "width": 4 / 12, "-top": -2 / 8,
                "bottom": 6 / 8, "y": 4 / 8, "height": 4 / 8}  # fmt: skip
    for side, value in expected.items():
        target = choose(["detection=1", f"side={side}"], network("boxes"), boxes())
        outputs = boxes()
        outputs.boxes = outputs.boxes.requires_grad_()
        y = target(outputs)
        assert y.item() == pytest.approx(value) and target.score == pytest.approx(0.8)
        (gradient,) = torch.autograd.grad(y, outputs.boxes)
        assert (gradient[[0, 2]] == 0).all() and (gradient[1] != 0).any()
    assert target.formula == "height of the box of 'tree', share of the input"
    with pytest.raises(ConfigError, match=r"side=lefft: expected one of .* Did you mean 'left'"):
        parse_target(["side=lefft"], CLASSES)
    with pytest.raises(ConfigError, match="net finds no boxes"):
        choose(["side=left"], network(), semantic())


def test_a_score_of_changed_boxes_is_overlap_times_score() -> None:
    target = choose(["detection=1"], network("boxes"), boxes())
    assert target.score == pytest.approx(0.8)
    moved = boxes()
    moved.boxes[1] = torch.tensor([5.0, 2, 9, 4])
    assert target.faithful_score(moved) == pytest.approx(0.4)
    moved.labels[1] = 1
    assert target.faithful_score(moved) == 0


def test_queries() -> None:
    classes = torch.full((2, 4), -4.0)
    classes[0, 1], classes[1, 2] = 4, 2
    masks = torch.full((2, 4, 6), -3.0)
    masks[0, :2, :2], masks[1, 2:, 3:] = 3, 1
    outputs = Outputs(query_classes=classes.requires_grad_(), query_masks=masks.requires_grad_())
    net = network("masks", queries=True)
    best = choose([], net, outputs)
    assert best.index == 0 and best.label == 1
    y = classes.softmax(1)[0, 1] * torch.tensor(3.0).sigmoid()
    torch.testing.assert_close(best(outputs), y)
    assert choose(["class=tree"], net, outputs).index == 1
    assert choose(["query=1"], net, outputs).label == 2
    assert choose(["pixel=14,12"], net, outputs).index == 1
    with pytest.raises(DataError, match="there are 2 queries"):
        choose(["query=2"], net, outputs)
    with pytest.raises(ConfigError, match="has no queries with masks"):
        choose(["query=0"], network(), semantic())


def test_the_same_target_in_another_network() -> None:
    first = choose([], network(), semantic())
    second = matching_target(first, sample(), network(), semantic(), sample())
    assert second is not None and bool((second.region == first.region).all())
    net = network("boxes")
    first = choose(["detection=1"], net, boxes())
    other = boxes()
    other.boxes, other.labels = other.boxes.flip(0), other.labels.flip(0)
    second = matching_target(first, sample(), net, other, sample())
    assert second is not None and second.label == 2 and second.index == 1
    other.labels[:] = 1
    assert matching_target(first, sample(), net, other, sample()) is None


def test_maps_come_back_onto_the_image() -> None:
    placement = Placement((8, 12), (8, 10), (16, 20))
    ramp = np.arange(6, dtype=float)[None].repeat(4, 0)  # over the 12 columns of the input
    on_image = placement.to_image(ramp)
    assert on_image.shape == (16, 20)
    assert on_image.max() < 4.6, "what lies over padding is cut off"
    assert placement.cell(*placement.point_in_input(19, 15), (4, 6)) == (3, 4)
    assert placement.content_cells((4, 6)).tolist() == [[True] * 5 + [False]] * 4
