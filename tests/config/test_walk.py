"""Walking through nested settings, rewriting them, and the datasets inside wrappers."""

from __future__ import annotations

from mmengine.config import ConfigDict

from mmattn.config.walk import innermost_dataset, leaf_datasets, rewrite, walk

NESTED = {"a": [1, {"b": (2, 3)}], "c": {}}


def test_everything_is_visited_from_the_outside_in() -> None:
    assert dict(walk(NESTED, "x")) == {
        "x": NESTED,
        "x.a": NESTED["a"],
        "x.a[0]": 1,
        "x.a[1]": {"b": (2, 3)},
        "x.a[1].b": (2, 3),
        "x.a[1].b[0]": 2,
        "x.a[1].b[1]": 3,
        "x.c": {},
    }
    assert list(walk(None)) == [("", None)]


def test_rewriting_copies_and_keeps_lists_and_tuples_apart() -> None:
    doubled = rewrite(NESTED, lambda _, value: value * 2 if isinstance(value, int) else value)
    assert doubled == {"a": [2, {"b": (4, 6)}], "c": {}}
    assert NESTED == {"a": [1, {"b": (2, 3)}], "c": {}}


def test_what_is_replaced_has_its_contents_replaced_already() -> None:
    seen = []
    rewrite(NESTED, lambda path, value: seen.append(path) or f"<{path}>", "x")
    assert seen == ["x.a[0]", "x.a[1].b[0]", "x.a[1].b[1]", "x.a[1].b", "x.a[1]", "x.a", "x.c", "x"]


def test_datasets_inside_wrappers() -> None:
    first, second = {"type": "A"}, {"type": "B"}
    joined = {"type": "ConcatDataset", "datasets": [first, {"type": "Repeat", "dataset": second}]}
    wrapped = ConfigDict(type="Mix", dataset=joined)
    assert list(leaf_datasets(wrapped, "x")) == [
        ("x.dataset.datasets[0]", first),
        ("x.dataset.datasets[1].dataset", second),
    ]
    assert innermost_dataset(wrapped) == first
    assert innermost_dataset(second) == second
