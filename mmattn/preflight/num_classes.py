"""Compare every head's number of classes with the dataset's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.class_counts import HEAD, OPEN_VOCABULARY
from mmattn.config.walk import walk
from mmattn.errors import ConfigError
from mmattn.tasks import TASKS
from mmattn.type_names import bare_name

_OTHER_COUNT = {head for task in TASKS for head in task.heads_of_other_counts}
#: Key of a panoptic head whose dataset does not tell things from stuff.
_BOTH = "num_things_classes + num_stuff_classes"
_VIDEO = ("MOTChallengeDataset", "YouTubeVISDataset", "ReIDDataset")


def check_class_counts(
    model: Mapping[str, Any],
    datasets: Sequence[tuple[str, str, Mapping[str, Any]]],
    filename: str | None = None,
) -> None:
    """Refuse a head that has another number of classes than the datasets of a split.

    Args:
        model: ``model`` of the config.
        datasets: Datasets of one split: config key, class name and ``metainfo`` of each. Of
            several joined datasets, matching any one is enough.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: The numbers differ; the message names the head's key, both numbers and the fix.
    """
    known = [(where, meta) for where, _, meta in datasets if meta.get("classes")]
    if len(known) < len(datasets) or any(cls in _VIDEO for _, cls, _ in datasets) or not known:
        return
    if any(key in model for key in OPEN_VOCABULARY):
        return
    where = known[0][0]
    prefix = f"{filename}: " if filename else ""
    for place, head in _heads(model, "model"):
        for key, value, allowed, meaning in _counts(head, [meta for _, meta in known]):
            if value in allowed:
                continue
            right = min(allowed)
            classes = [str(name) for name in known[0][1]["classes"]]
            shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
            if key == _BOTH:
                raise ConfigError(
                    f"{prefix}{place}: {key} = {value}, but {where} has {right} {meaning} "
                    f"({shown}). Set both to the dataset's numbers of things and stuff"
                    f"{_note_for_lists(place)}, or check metainfo.classes of the dataset."
                )
            raise ConfigError(
                f"{prefix}{place}.{key}={value}, but {where} has {right} {meaning} ({shown}). "
                f"Set {place}.{key}={right}, in the config or on the command line"
                f"{_note_for_lists(place)}, or check metainfo.classes of the dataset; "
                "num_classes='auto' takes the data's"
            )
        total = _total(head)
        for key, weights in _class_weights(head):
            # Query-based heads weigh "no object" too.
            if (
                isinstance(weights, (list, tuple))
                and total is not None
                and len(weights) not in (total, total + 1)
            ):
                count = f"{len(weights)} weight{'' if len(weights) == 1 else 's'}"
                raise ConfigError(
                    f"{prefix}{place}.{key} has {count}, but the head has {total} classes: give "
                    "one weight per class (query-based heads: one more)."
                )


def _note_for_lists(place: str) -> str:
    """Return a note for heads in lists, of which every one has to be set."""
    return " (and the other heads of the list)" if "[" in place else ""


def _heads(value: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the heads of a model config with their keys."""
    for inner_place, inner in walk(value, place):
        is_head = isinstance(inner, Mapping) and HEAD.fullmatch(inner_place)
        if is_head and bare_name(inner.get("type")) not in _OTHER_COUNT:
            yield inner_place, inner


def _counts(
    head: Mapping[str, Any], metas: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, int, set[int], str]]:
    """Return the class counts of a head: (key, value, allowed values, what is counted)."""
    everything = {len(meta["classes"]) for meta in metas}
    things = {len(meta["thing_classes"]) for meta in metas if meta.get("thing_classes")}
    stuff = {len(meta["stuff_classes"]) for meta in metas if meta.get("stuff_classes")}
    if isinstance(head.get("num_classes"), int):
        # Boxes and instance masks of a panoptic model are of the things alone.
        yield "num_classes", head["num_classes"], everything | things, "classes"
    if isinstance(head.get("num_things_classes"), int):
        n_things = head["num_things_classes"]
        n_stuff = head.get("num_stuff_classes") or 0
        if things and stuff:
            yield "num_things_classes", n_things, things, "thing classes"
            yield "num_stuff_classes", n_stuff, stuff, "stuff classes"
        else:
            yield _BOTH, n_things + n_stuff, everything, "classes"


def _total(head: Mapping[str, Any]) -> int | None:
    """Return the number of classes of a head, things and stuff together."""
    if isinstance(head.get("num_things_classes"), int):
        return head["num_things_classes"] + (head.get("num_stuff_classes") or 0)
    count = head.get("num_classes")
    return count if isinstance(count, int) else None


def _class_weights(head: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the class weights of a head and of its losses, with their keys."""
    yield "class_weight", head.get("class_weight")
    for key in ("loss_cls", "loss_decode"):
        losses = head.get(key)
        if isinstance(losses, Mapping):
            yield f"{key}.class_weight", losses.get("class_weight")
        for index, loss in enumerate(losses if isinstance(losses, (list, tuple)) else ()):
            if isinstance(loss, Mapping):
                yield f"{key}[{index}].class_weight", loss.get("class_weight")
