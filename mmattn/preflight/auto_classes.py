"""``num_classes="auto"``: the number of classes of the training data, counted before a build."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mmattn.config.class_counts import (
    AUTO,
    COUNT_KEYS,
    STUFF,
    THINGS,
    ClassCounts,
    awaits_class_count,
)
from mmattn.config.registry_scope import enter_scope
from mmattn.config.walk import LOADERS, leaf_datasets, rewrite, walk
from mmattn.data.dataset_probe import lazy_dataset
from mmattn.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mmengine.config import Config


def fill_class_counts(cfg: Config) -> Config:
    """Write the number of classes of the training data where the model says ``"auto"``.

    Weights of query-based heads, ``[1.0, "auto", 0.1]`` since ``data=DIR``, become as many.

    Args:
        cfg: A whole config; it is not changed.

    Returns:
        A copy with the numbers; ``cfg`` itself where nothing is to be filled.

    Raises:
        ConfigError: No dataset says which classes it has.
        DataError: The files of the dataset are not there or contradict themselves.
    """
    if not _has_auto(cfg.get("model")):
        return cfg
    counts = count_classes(cfg)
    # Boxes and instance masks of a panoptic model are of the things alone.
    number = {
        "num_classes": counts.total if counts.things is None else counts.things,
        THINGS: counts.total if counts.things is None else counts.things,
        STUFF: counts.stuff or 0,
    }

    def fill(path: str, value: Any) -> Any:
        key = path.rpartition(".")[2]
        if key in COUNT_KEYS and value == AUTO:
            return number[key]
        if path.rpartition(".")[2] == "class_weight" and awaits_class_count(value):
            first, _, last = value
            return [first] * (counts.total or 0) + [last]
        return value

    cfg = deepcopy(cfg)
    for key in cfg:  # variables that went into the model as well
        if _has_auto(cfg[key]):
            cfg[key] = rewrite(cfg[key], fill)
    return cfg


def count_classes(cfg: Config) -> ClassCounts:
    """Return the numbers of classes of a config's training data, else of its other data.

    Raises:
        ConfigError: The config has no data, or its datasets do not agree.
        DataError: The files that say so are not there or contradict themselves.
    """
    enter_scope(cfg)
    loader = next((key for key in LOADERS if cfg.get(key) is not None), None)
    if loader is None:
        raise ConfigError(
            f"{cfg.filename}: num_classes='auto' is the number of classes of the data, but the "
            "config has no data: write the number"
        )
    counts: dict[str, ClassCounts] = {}
    for where, leaf in leaf_datasets(cfg[loader]["dataset"], f"{loader}.dataset"):
        try:
            dataset = lazy_dataset(leaf, where)
        except DataError as error:
            raise DataError(
                f"{error}. (num_classes='auto' is counted there; the config that a training left "
                "in its folder holds the number.)"
            ) from error
        counts[where] = ClassCounts.of({} if dataset is None else dataset.metainfo)
    if len(set(counts.values())) > 1 or not all(count.total for count in counts.values()):
        listed = ", ".join(f"{w} has {count.total or 0} classes" for w, count in counts.items())
        raise ConfigError(f"{cfg.filename}: num_classes='auto', but {listed}: write the number")
    return next(iter(counts.values()))


def _has_auto(value: Any) -> bool:
    for path, inner in walk(value):
        key = path.rpartition(".")[2]
        if (key in COUNT_KEYS and inner == AUTO) or (
            key == "class_weight" and awaits_class_count(inner)
        ):
            return True
    return False
