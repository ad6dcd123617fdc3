"""What a dataloader reads: datasets and their wrappers, names of classes, order of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmattn.config.walk import walk
from mmattn.type_names import bare_name

_SWITCHES = ("persistent_workers", "drop_last", "pin_memory")
#: Packages whose transforms are known; any other one's may do anything.
_PACKAGES = ("mmcv", "mmdet", "mmseg", "mmattn", "mmengine")


def loader_problems(loader: Mapping[str, Any], where: str, *, whole: bool) -> Iterator[str]:
    """Yield what a dataloader lacks, and what in its datasets and pipelines cannot be meant.

    The config's scope must have been entered (``enter_scope``).

    Args:
        loader: Settings of the dataloader.
        where: Its config key.
        whole: Whether the config is run as it is, so that a pipeline must pack its samples.
    """
    for key in _SWITCHES:
        value = loader.get(key)
        if value is not None and not isinstance(value, bool):
            yield f"{where}.{key}={value!r}: True or False is expected"
    workers = loader.get("num_workers")
    if isinstance(workers, int) and workers > 1024:
        yield f"{where}.num_workers={workers} processes: no machine runs as many"
    if "dataset" not in loader or loader["dataset"] is None:
        yield f"{where}.dataset is missing: say which data to read"
        return
    yield from _dataset(loader["dataset"], f"{where}.dataset", (), whole)


def _dataset(dataset: Any, where: str, outer: Sequence[Any], whole: bool) -> Iterator[str]:
    """Judge a dataset and those inside of wrappers, whose pipelines follow each other."""
    if not isinstance(dataset, Mapping):
        return
    if "type" not in dataset:
        yield f"{where}.type is missing: say which dataset it is"
        return
    steps = dataset.get("pipeline")
    steps = list(steps) if isinstance(steps, (list, tuple)) else []
    metainfo = dataset.get("metainfo")
    if metainfo is not None and not isinstance(metainfo, Mapping):
        yield f"{where}.metainfo={metainfo!r:.60} must be a dict, such as dict(classes=('a', 'b'))"
    else:
        yield from _classes((metainfo or {}).get("classes"), f"{where}.metainfo.classes")
    for key in ("data_prefix", "filter_cfg"):
        value = dataset.get(key)
        if value is not None and not isinstance(value, Mapping):
            yield f"{where}.{key}={value!r:.60} must be a dict"
    inner = dataset.get("datasets")
    if isinstance(inner, (list, tuple)):
        if not inner:
            yield f"{where}.datasets is empty: name the datasets that are joined"
        for index, one in enumerate(inner):
            yield from _dataset(one, f"{where}.datasets[{index}]", [*steps, *outer], whole)
    elif isinstance(dataset.get("dataset"), Mapping):
        yield from _dataset(dataset["dataset"], f"{where}.dataset", [*steps, *outer], whole)
    else:
        yield from _pipeline([*steps, *outer], steps, f"{where}.pipeline", whole)


def _classes(classes: Any, where: str) -> Iterator[str]:
    if classes is None or isinstance(classes, str):
        return  # a file of names; a name is told when the dataset is looked at
    if not isinstance(classes, (list, tuple)):
        yield f"{where}={classes!r}: a list of names is expected"
        return
    wrong = [name for name in classes if not isinstance(name, str)]
    if wrong:
        yield f"{where}: {wrong[0]!r} is not a text: write the names of the classes in quotes"
    twice = sorted({n for n in classes if isinstance(n, str) and list(classes).count(n) > 1})
    if twice:
        yield f"{where} has {twice[0]!r} twice: each class has a name of its own"


def _pipeline(steps: Sequence[Any], own: Sequence[Any], where: str, whole: bool) -> Iterator[str]:
    if not steps:
        yield f"{where} is empty: nothing would load the images. Write pipeline=[dict(type=...)]"
        return
    for index, step in enumerate(own):
        if isinstance(step, Mapping) and "type" not in step:
            yield f"{where}[{index}].type is missing: say which transform it is"
    names = [bare_name(step.get("type")) for step in steps if isinstance(step, Mapping)]
    inside = {
        bare_name(value.get("type"))
        for step in steps
        for _, value in walk(step)
        if isinstance(value, Mapping) and isinstance(value.get("type"), (str, type))
    }
    if not all(map(_is_upstream, steps)):
        return  # a transform of the user's own may do anything
    if not any(map(_loads_images, inside)):
        yield f"{where} loads nothing: begin with dict(type='LoadImageFromFile')"
    elif _starts_late(names):
        yield (
            f"{where}[0] ({names[0]}) comes before LoadImageFromFile, which loads the image that "
            "it changes: put that first"
        )
    packed = any(word in name for name in inside for word in ("Pack", "Collect", "Format"))
    if whole and not packed:
        yield (
            f"{where} packs nothing: end with dict(type='PackDetInputs') or "
            "dict(type='PackSegInputs'), which make what the model takes"
        )


def _loads_images(name: str) -> bool:
    truth = any(word in name for word in ("Annotation", "Proposal", "Mask", "TrackAnn"))
    return (name.startswith("Load") and not truth) or "Loader" in name


def _starts_late(names: Sequence[str]) -> bool:
    changes = ("Random", "Resize", "Pad", "PhotoMetric", "Normalize", "Pack", "Flip")
    return "LoadImageFromFile" in names[1:] and names[0].startswith(changes)


def _is_upstream(step: Any) -> bool:
    """Return whether a step is a transform of the packages known here."""
    from mmengine.registry import TRANSFORMS

    if not isinstance(step, Mapping) or not isinstance(step.get("type"), (str, type)):
        return False
    cls = step["type"]
    if isinstance(cls, str):
        with TRANSFORMS.switch_scope_and_registry(None) as registry:
            cls = registry.get(cls) if cls else None
    return str(getattr(cls, "__module__", "")).partition(".")[0] in _PACKAGES
