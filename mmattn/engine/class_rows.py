"""Find the weights of a model that depend on its classes, by building it with one class more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mmattn.config.class_counts import COUNT_KEYS, STUFF, ClassCounts, counts_data
from mmattn.config.walk import rewrite
from mmattn.errors import one_line
from mmattn.inference.model import strip_pretrained
from mmattn.io.class_rows import ClassRows, RowsReport, class_names, class_rows, take_over

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor, nn

logger = logging.getLogger("mmattn")


def keep_rows_by_name(
    checkpoint: dict[str, Any],
    model: nn.Module,
    cfg: Config,
    meta: Mapping[str, Any],
    source: str,
) -> RowsReport | None:
    """Let a checkpoint's rows stand for the model's classes, in place.

    Args:
        checkpoint: Checkpoint with ``state_dict`` and ``meta``; the first is replaced.
        model: Model that the weights are for, without wrappers.
        cfg: Config of the run, with the numbers of classes filled in.
        meta: Metainfo of the training data.
        source: File or address of the checkpoint, for messages.

    Returns:
        What was taken over; None where names do not tell anything: the checkpoint has none, the
        data has none, or both have the same in the same order.
    """
    old, new = class_names(checkpoint.get("meta")), class_names({"dataset_meta": meta})
    if old is None or new is None or old[0] == new[0]:
        return None
    counts = ClassCounts.of(meta)
    own = model.state_dict()
    rows = rows_of_classes(cfg, {k: tuple(v.shape) for k, v in own.items()}, counts)
    notes = []
    for prefix, head in stated_heads(model).items():
        notes += _as_stated(rows, prefix, head, checkpoint["state_dict"], own)
    if not rows:
        return None
    totals = {len(new[1]): (old[1], new[1]), len(new[0]): (old[0], new[0])}
    checkpoint["state_dict"], report = take_over(
        checkpoint["state_dict"],
        own,
        rows,
        {count: pair[0] for count, pair in totals.items()},
        {count: pair[1] for count, pair in totals.items()},
        source,
    )
    report.notes += notes
    return report


@runtime_checkable
class StatesItsClasses(Protocol):
    """A head that knows which of its weights have a row for each class, as ``YOLOv12Head``.

    Attributes:
        class_channels: Width of the layers before these, an argument of the head.
    """

    class_channels: int

    def weights_of_classes(self) -> tuple[str, ...]:
        """Return their names below the head."""
        ...


def stated_heads(model: nn.Module) -> dict[str, StatesItsClasses]:
    """Return the heads of a model that state which weights are of classes, by their prefix."""
    return {
        f"{name}.": module
        for name, module in model.named_modules()
        if isinstance(module, StatesItsClasses)
    }


def _as_stated(
    rows: dict[str, ClassRows | None],
    prefix: str,
    head: StatesItsClasses,
    state_dict: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
) -> list[str]:
    """Correct ``rows`` by what a head says of itself, and return what the user has to know.

    A weight of another shape than the model's cannot be loaded; one of the same shape can, whatever
    its shape would be with one class more.
    """
    stated = {f"{prefix}{name}" for name in head.weights_of_classes()}
    others = [name for name in own if name.startswith(prefix) and name not in stated]
    for name in others:
        rows.pop(name, None)
        if name in state_dict and state_dict[name].shape != own[name].shape:
            rows[name] = None
    for name in stated:
        rows[name] = ClassRows(0, own[name].shape[0], 1)
    widths = {state_dict[n].shape[1] for n in stated if n in state_dict and state_dict[n].ndim > 1}
    if len(widths) != 1 or widths == {head.class_channels}:
        return []
    width = widths.pop()
    rows.update(dict.fromkeys(stated))  # a bias means nothing without its weight
    return [
        f"the class branches are {width} channels wide in the checkpoint and {head.class_channels} "
        f"here, since their width follows the number of classes, and start anew; "
        f"model.{prefix}class_channels={width} keeps them"
    ]


def rows_of_classes(
    cfg: Config, shapes: Mapping[str, tuple[int, ...]], counts: ClassCounts
) -> dict[str, ClassRows | None]:
    """Return the weights that depend on the number of classes -> where the classes are in them.

    The model is built a second time, with one class more; random numbers go on as if it were not.

    Args:
        cfg: Config with the numbers of classes filled in.
        shapes: Name of each weight of the model -> its shape.
        counts: Numbers of the classes of the data.
    """
    import torch
    from mmengine.config import ConfigDict
    from mmengine.registry import MODELS

    larger = strip_pretrained(rewrite(deepcopy(cfg.model.to_dict()), _one_more(counts)))
    larger = ConfigDict(larger)  # heads read their settings as attributes
    try:
        with torch.random.fork_rng(devices=[]):
            built = {k: tuple(v.shape) for k, v in MODELS.build(larger).state_dict().items()}
    except Exception as error:  # a model of another author's, which asks more of its settings
        logger.warning(
            "Rows of classes cannot be told by name, as the model cannot be built with one class "
            "more: %s",
            one_line(error),
        )
        return {}
    found: dict[str, ClassRows | None] = {}
    for name, shape in shapes.items():
        other = built.get(name)
        if other is None or other == shape or len(other) != len(shape):
            continue
        options = [class_rows(name, shape, other, count) for count in _candidates(counts)]
        found[name] = next((one for one in options if one is not None), None)
    return found


def _candidates(counts: ClassCounts) -> list[int]:
    """Return what a weight may count: all classes, or the things alone."""
    return list(dict.fromkeys(c for c in (counts.total, counts.things) if c))


def _one_more(counts: ClassCounts) -> Callable[[str, Any], Any]:
    """Return a function for ``rewrite`` that counts one class (in panoptic models: thing) more."""
    known = _candidates(counts)

    def change(path: str, value: Any) -> Any:
        if not isinstance(value, dict) or not counts_data(path, value):
            return value
        for key in COUNT_KEYS:
            if key != STUFF and value.get(key) in known:
                value[key] += 1
        weights = value.get("class_weight")
        if isinstance(weights, (list, tuple)) and len(weights) > 1:
            value["class_weight"] = [weights[0], *weights]
        return value

    return change
