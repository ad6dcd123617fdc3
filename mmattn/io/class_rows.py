"""Rows of a classifier, taken over by the names of the classes they stand for.

A checkpoint numbers its classes in its own way. Loaded by position, the row of one class would
start as another class, and a head of another number of classes would start from nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

#: Numbers of rows beside those of the classes, in each block -> how many stand before them. mmdet
#: has the background (DETR: "no object") behind the classes, YOLOv3 box and objectness before them.
_BESIDE = {0: 0, 1: 0, 5: 5}
#: Rows of a class that tell a box for it.
_BOX = 4


@dataclass(frozen=True)
class ClassRows:
    """Where the rows of the classes are in a weight.

    Attributes:
        dim: Dimension that the classes are counted along.
        count: Number of classes there.
        blocks: Number of blocks, one for each anchor; or of rows for each class.
        beside: Rows of a block that belong to no class.
        by_class: Whether the rows of one class lie together (boxes for each class), not the rows of
            one block (anchors).
    """

    dim: int
    count: int
    blocks: int
    beside: int = 0
    by_class: bool = False

    @property
    def length(self) -> int:
        """Number of all rows."""
        return self.blocks * (self.count + self.beside)

    def rows(self, label: int) -> list[int]:
        """Return the rows of one class."""
        if self.by_class:
            return [label * self.blocks + i for i in range(self.blocks)]
        size = self.count + self.beside
        return [block * size + _BESIDE[self.beside] + label for block in range(self.blocks)]

    def others(self) -> list[int]:
        """Return the rows that belong to no class, in the same order for every ``count``."""
        size, before = self.count + self.beside, _BESIDE[self.beside]
        inside = [i if i < before else self.count + i for i in range(self.beside)]
        return [block * size + i for block in range(self.blocks) for i in inside]


def class_rows(
    name: str, shape: Sequence[int], larger: Sequence[int], count: int
) -> ClassRows | None:
    """Return where the classes are in a weight, from its shapes with ``count`` and one more.

    Args:
        name: Name of the weight.
        shape: Its shape with ``count`` classes.
        larger: Its shape with one class more.
        count: Number of classes.

    Returns:
        None where the rows cannot be told from others.

    >>> class_rows("bbox_head.fc_cls.weight", (81, 1024), (82, 1024), 80)
    ClassRows(dim=0, count=80, blocks=1, beside=1, by_class=False)
    """
    differing = [dim for dim, (a, b) in enumerate(zip(shape, larger, strict=True)) if a != b]
    if len(differing) != 1:
        return None
    (dim,) = differing
    blocks = larger[dim] - shape[dim]
    beside, rest = divmod(shape[dim] - blocks * count, blocks) if blocks > 0 else (0, 1)
    if rest or beside not in _BESIDE:
        return None
    part = name.rpartition(".")[0].rpartition(".")[2] or name
    boxes = ("reg" in part or "bbox" in part) and blocks % _BOX == 0 and beside == 0
    return ClassRows(dim, count, blocks, beside, by_class=boxes)


@dataclass
class RowsReport:
    """Rows of a head that were taken over by the names of their classes.

    Attributes:
        source: File or address of the checkpoint.
        kept: Classes whose rows were taken over.
        new: Classes that start from their initial values.
        unused: Classes of the checkpoint that the model does not have.
        mapped: Weights whose rows were taken over.
        initial: Weights that depend on the classes in another way, and start from their initial
            values.
        notes: What else there is to know, in sentences.
    """

    source: str
    kept: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    mapped: list[str] = field(default_factory=list)
    initial: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One sentence: ``rows of 2 classes (RBC, WBC) kept by name, 1 new (Platelets)``."""
        parts = [
            f"rows of {_counted(self.kept, 'class', 'classes')} kept by name",
            f"{len(self.new)} new{_named(self.new)}",
        ]
        if self.unused:
            parts.append(f"{len(self.unused)} of the checkpoint not used{_named(self.unused)}")
        if self.initial:
            parts.append(
                f"{len(self.initial)} weights that depend on the classes otherwise start from "
                f"their initial values{_named(self.initial)}"
            )
        return "; ".join([", ".join(parts), *self.notes])


def take_over(
    state_dict: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
    rows: Mapping[str, ClassRows | None],
    old_names: Mapping[int, Sequence[str]],
    new_names: Mapping[int, Sequence[str]],
    source: str = "",
) -> tuple[dict[str, torch.Tensor], RowsReport]:
    """Return the weights of a checkpoint whose rows stand for the model's classes.

    Args:
        state_dict: Weights of the checkpoint; they are not changed.
        own: Weights of the model, whose values new classes keep.
        rows: Name of a weight that depends on the classes -> where they are in it.
        old_names: Names of the checkpoint's classes, by the number of classes in the model that
            they stand in for: things and all of a panoptic model.
        new_names: Names of the model's classes, by their number.
        source: File or address of the checkpoint.
    """
    result = dict(state_dict)
    every_old, every_new = old_names[max(new_names)], new_names[max(new_names)]
    report = RowsReport(
        source,
        kept=[name for name in every_new if name in every_old],
        new=[name for name in every_new if name not in every_old],
        unused=[name for name in every_old if name not in every_new],
    )
    for name, new in rows.items():
        if name not in state_dict or name not in own:
            continue
        value, target = state_dict[name], own[name]
        mapped = None
        if new is not None:
            mapped = _taken(value, target, new, old_names[new.count], new_names[new.count])
        if mapped is None:
            del result[name]
            report.initial.append(name)
        else:
            result[name] = mapped
            report.mapped.append(name)
    if not report.mapped:
        report.kept, report.new = [], list(every_new)
    return result, report


def _taken(
    value: torch.Tensor,
    target: torch.Tensor,
    new: ClassRows,
    old_names: Sequence[str],
    new_names: Sequence[str],
) -> torch.Tensor | None:
    """Return the model's weight with the rows of common classes; None where shapes do not fit."""
    old = ClassRows(new.dim, len(old_names), new.blocks, new.beside, new.by_class)
    shape = list(target.shape)
    shape[new.dim] = old.length
    if list(value.shape) != shape:
        return None
    source, place = old.others(), new.others()
    for label, name in enumerate(new_names):
        if name in old_names:
            source += old.rows(list(old_names).index(name))
            place += new.rows(label)
    result = target.detach().clone().to(value.device)
    taken = value.index_select(new.dim, torch.tensor(source, device=value.device, dtype=torch.long))
    where = torch.tensor(place, device=value.device, dtype=torch.long)
    return result.index_copy_(new.dim, where, taken.to(result.dtype))


def class_names(meta: Mapping | None) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return the names of all classes and of the things in a checkpoint's meta; None without.

    The things are all classes outside of panoptic data. Checkpoints of mmdet 2 have ``CLASSES``.
    """
    meta = meta or {}
    data = meta.get("dataset_meta") or {}
    data = {str(key).lower(): value for key, value in data.items()} if data else {}
    names = data.get("classes") or meta.get("CLASSES")
    if not names or isinstance(names, str):
        return None
    names = tuple(map(str, names))
    return names, tuple(map(str, data.get("thing_classes") or names))


def _counted(names: Sequence[str], one: str, many: str) -> str:
    return f"{len(names)} {one if len(names) == 1 else many}{_named(names)}"


def _named(names: Sequence[str], limit: int = 8) -> str:
    if not names:
        return ""
    return f" ({', '.join(names[:limit])}{', ...' if len(names) > limit else ''})"
