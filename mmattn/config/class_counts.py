"""Class counts of a model that wait for the data: ``num_classes="auto"`` and its like.

``open_counts`` writes ``"auto"`` in the place of the numbers of the config's own classes; they are
filled in before a model is built (``preflight/auto_classes.py``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmattn.tasks import TASKS
from mmattn.type_names import bare_name

from .dataset_meta import dataset_meta
from .walk import walk

if TYPE_CHECKING:
    from mmengine.config import Config

logger = logging.getLogger("mmattn")

AUTO = "auto"
THINGS, STUFF = "num_things_classes", "num_stuff_classes"
#: Keys of a head that hold a number of classes.
COUNT_KEYS = ("num_classes", THINGS, STUFF)
#: Where heads sit whose numbers count the dataset's classes. Others count something else: stuff
#: classes (HTC's semantic head), identities (re-identification), words (text encoders).
HEAD = re.compile(
    r"model\.(?:detector\.|segmentor\.)?(?:"
    + "|".join(dict.fromkeys(head for task in TASKS for head in task.heads))
    + r")(?:\.inner)*"  # WithPlugins around it
)
#: Models that compare images with words take any class list; their count is only a default.
OPEN_VOCABULARY = ("language_model", "text_encoder")
#: Heads whose ``num_classes`` does not count the classes of the data.
_OTHER_COUNT = {head for task in TASKS for head in task.heads_of_other_counts}
#: Parts that tell objects from background, whatever the classes.
_CLASSLESS = ("rpn_head",)


@dataclass(frozen=True)
class ClassCounts:
    """Numbers of the classes of a dataset.

    Attributes:
        total: Number of all classes; None where it is not known.
        things: Number of classes whose objects are counted; None outside of panoptic data.
        stuff: Number of the other classes; None outside of panoptic data.
    """

    total: int | None
    things: int | None = None
    stuff: int | None = None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> ClassCounts:
        """Return the numbers of a dataset's metainfo."""
        names, things, stuff = (
            meta.get(key) for key in ("classes", "thing_classes", "stuff_classes")
        )
        return cls(
            len(names) if names else None,
            None if things is None else len(things),
            None if stuff is None else len(stuff),
        )


def own_counts(cfg: Config) -> set[int]:
    """Return the numbers of classes that a config was written for.

    Those of its own data, all and things alone, and those that its heads have: the config that a
    run leaves has heads that count the classes of a folder.
    """
    counts = ClassCounts.of(dataset_meta(cfg))
    found = {count for count in (counts.total, counts.things) if count}
    model = cfg.get("model") or {}
    if any(key in model for key in OPEN_VOCABULARY):
        return found
    for path, part in walk(model, "model"):
        if isinstance(part, Mapping) and HEAD.fullmatch(path) and counts_data(path, part):
            given = [part.get(key) for key in COUNT_KEYS if key != STUFF]
            things, stuff = part.get(THINGS), part.get(STUFF)
            if isinstance(things, int) and isinstance(stuff, int):
                given.append(things + stuff)
            found.update(count for count in given if isinstance(count, int) and count > 0)
    return found


def open_counts(known: Collection[int]) -> Callable[[str, Any], Any]:
    """Return a function for ``rewrite`` that writes ``"auto"`` for the old numbers of classes.

    It drops the class weights of these classes too.

    Query-based heads weigh "no object" as well; where the classes themselves weigh the same, so do
    the new ones.

    Args:
        known: The old numbers, of ``own_counts``.
    """

    def change(path: str, value: Any) -> Any:
        if not isinstance(value, dict) or not counts_data(path, value):
            return value
        if value.get("num_classes") in known:
            value["num_classes"] = AUTO
        if value.get(THINGS) in known:
            value[THINGS] = AUTO
            if value.get(STUFF):  # 0 in heads of instances
                value[STUFF] = AUTO
        weights = value.get("class_weight")
        if not isinstance(weights, (list, tuple)):
            return value
        if len(weights) in known:
            value["class_weight"] = None
            if path.startswith("model."):
                logger.warning(
                    "%s.class_weight was for the %d classes of the config's own data: left out",
                    *(path, len(weights)),
                )
        elif len(weights) - 1 in known and len(set(weights[:-1])) == 1:
            value["class_weight"] = [weights[0], AUTO, weights[-1]]
        return value

    return change


def counts_data(path: str, part: Mapping[str, Any]) -> bool:
    """Return whether numbers of classes in a part of a model are those of the data.

    Args:
        path: Path of the part in the config.
        part: Config of the part.
    """
    inside = path.split(".")
    return bare_name(part.get("type")) not in _OTHER_COUNT and not any(
        name in inside for name in _CLASSLESS
    )


def awaits_class_count(class_weight: Any) -> bool:
    """Return whether weights await the number of classes; mmseg also takes the name of a file."""
    return isinstance(class_weight, (list, tuple)) and AUTO in class_weight


def counts_in(cfg: Config) -> list[tuple[str, int]]:
    """Return the path and the value of every number of classes in the model of a config."""
    return [
        (path, value)
        for path, value in walk(cfg.get("model"), "model")
        if path.rpartition(".")[2] in COUNT_KEYS and isinstance(value, int)
    ]
