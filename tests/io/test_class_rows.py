"""Promise: rows of a classifier are found in every layout and follow the names of their classes."""

from __future__ import annotations

import pytest
import torch

from mmattn.io.class_rows import ClassRows, class_names, class_rows, take_over

OLD, NEW = ("cat", "dog", "cow"), ("cow", "owl", "cat", "fox")
#: Weight -> (shape with four classes, with five, where the rows of class 1 are).
LAYOUTS = {
    "head.cls.weight": ((4, 8, 1, 1), (5, 8, 1, 1), [1]),
    "head.fc_cls.bias": ((5,), (6,), [1]),
    "head.fc_reg.weight": ((16, 8), (20, 8), [4, 5, 6, 7]),
    "head.retina_cls.weight": ((12, 8, 3, 3), (15, 8, 3, 3), [1, 5, 9]),
    "head.cls_convs.0.weight": ((15, 8), (18, 8), [1, 6, 11]),  # SSD: anchors with background
    "head.conv_pred.weight": ((27, 8), (30, 8), [6, 15, 24]),  # YOLOv3: box, objectness, classes
    "head.prototypes": ((8, 4), (8, 5), [1]),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_are_found_by_the_shapes_alone(name: str) -> None:
    shape, larger, rows = LAYOUTS[name]
    found = class_rows(name, shape, larger, 4)
    assert found is not None and found.length == shape[found.dim]
    assert found.rows(1) == rows
    every = sorted([*found.others(), *(row for label in range(4) for row in found.rows(label))])
    assert every == list(range(found.length))


@pytest.mark.parametrize(
    ("shape", "larger"),
    [((4, 4), (5, 5)), ((261, 8), (262, 8)), ((8, 6), (8, 7)), ((9, 8), (11, 8))],
)
def test_what_cannot_be_told_is_none(shape: tuple, larger: tuple) -> None:
    assert class_rows("head.fc.weight", shape, larger, 4) is None


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_row_is_that_of_its_name(name: str) -> None:
    """The oracle writes class and place into each value."""
    shape, larger, _ = LAYOUTS[name]
    new = class_rows(name, shape, larger, 4)
    assert new is not None
    old = ClassRows(new.dim, 3, new.blocks, new.beside, new.by_class)

    def marked(rows: ClassRows, names: tuple[str, ...], sign: int) -> torch.Tensor:
        size = list(shape)
        size[new.dim] = rows.length
        values = torch.zeros(rows.length)
        for place, row in enumerate(rows.others()):
            values[row] = sign * (1000 + place)
        for label, name in enumerate(names):
            for place, row in enumerate(rows.rows(label)):
                values[row] = sign * (100 * ord(name[1]) + place)
        view = [1] * len(size)
        view[new.dim] = -1
        return values.view(view).expand(size).clone()

    weights, own = {name: marked(old, OLD, 1)}, {name: marked(new, NEW, -1)}
    before = weights[name].clone()
    result, report = take_over(weights, own, {name: new}, {4: OLD}, {4: NEW}, "a.pth")
    expected = marked(new, NEW, 1)
    for label in (1, 3):  # owl and fox are new
        for row in new.rows(label):
            expected.select(new.dim, row).neg_()
    assert torch.equal(result[name], expected)
    assert torch.equal(weights[name], before), "the checkpoint itself is not changed"
    assert (report.kept, report.new, report.unused) == (["cow", "cat"], ["owl", "fox"], ["dog"])
    assert "rows of 2 classes (cow, cat) kept by name, 2 new (owl, fox)" in str(report)


def test_weights_of_another_shape_start_anew() -> None:
    rows = {"a.weight": class_rows("a.weight", (4, 8), (5, 8), 4), "b.weight": None}
    weights = {"a.weight": torch.ones(7, 8), "b.weight": torch.ones(2), "c": torch.ones(1)}
    own = {"a.weight": torch.zeros(4, 8), "b.weight": torch.zeros(2)}
    result, report = take_over(weights, own, rows, {4: OLD}, {4: NEW})
    assert set(result) == {"c"} and report.initial == ["a.weight", "b.weight"]
    assert "2 weights that depend on the classes otherwise" in str(report)


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"dataset_meta": {"classes": ["a", "b"]}}, (("a", "b"), ("a", "b"))),
        ({"dataset_meta": {"CLASSES": ("a", "b")}}, (("a", "b"), ("a", "b"))),
        ({"CLASSES": ("a", "b")}, (("a", "b"), ("a", "b"))),
        (
            {"dataset_meta": {"classes": ("a", "b"), "thing_classes": ("a",)}},
            (("a", "b"), ("a",)),
        ),
        ({"epoch": 3}, None),
        (None, None),
    ],
)
def test_names_in_checkpoints_of_every_age(meta: dict | None, names: tuple | None) -> None:
    assert class_names(meta) == names
