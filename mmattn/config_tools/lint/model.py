"""Rules about a model and its data: classes, channels, sizes of crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from mmattn.config.walk import leaf_datasets, walk
from mmattn.errors import ConfigError
from mmattn.preflight.config_arguments import class_of
from mmattn.preflight.num_classes import check_class_counts
from mmattn.type_names import bare_name

from ..explain import site_of
from ..trace import Trace
from .run_problems import splits_of

#: Backbones of the ResNet family: depth -> channels of a stage over those of the first block.
_RESNETS = ("ResNet", "ResNetV1c", "ResNetV1d", "ResNeXt", "SEResNet", "SEResNeXt")
_EXPANSION = {18: 1, 34: 1, 50: 4, 101: 4, 152: 4}
#: Necks whose every output has ``out_channels``.
_NECKS = ("FPN", "PAFPN", "NASFPN", "FPG", "BFP", "YOLOXPAFPN", "CSPNeXtPAFPN", "ChannelMapper")
#: Heads of a detector that take what the neck gives.
_HEADS = ("rpn_head", "bbox_head", "mask_head")


def class_counts(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield heads with another number of classes than the dataset, as far as no file is needed."""
    cfg = trace.cfg
    if not cfg.get("model"):
        return
    for split in splits_of(trace):
        dataset = cfg[f"{split}_dataloader"].get("dataset")
        if not isinstance(dataset, Mapping):
            continue
        where = f"{split}_dataloader.dataset"
        found = [(place, *_meta(leaf, cfg)) for place, leaf in leaf_datasets(dataset, where)]
        try:
            check_class_counts(cfg.model, found)
        except ConfigError as error:
            text = str(error)
            yield text.split("=")[0].split(": ")[0], text
            return  # the other splits are of the same data


def _meta(dataset: Mapping[str, Any], cfg: Any) -> tuple[str, Mapping[str, Any]]:
    """Return name and metainfo of a dataset, which is not built; {} where it needs a file."""
    name = dataset.get("type")
    given = dataset.get("metainfo")
    cls = name
    if isinstance(name, str):
        scope = dataset.get("_scope_") or cfg.get("default_scope") or "mmengine"
        cls = class_of(name, ("DATASETS",), scope)
    bare = bare_name(name)
    if given is not None and not isinstance(given, Mapping):
        return bare, {}
    load = getattr(cls, "_load_metainfo", None)
    if load is None or any(isinstance(v, str) for v in (given or {}).values()):
        return bare, {}
    return bare, dict(load(deepcopy(dict(given)) if given else None))


def channel_chain(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield necks and heads that take other channels than a ResNet or a neck gives."""
    model = trace.cfg.get("model")
    if not isinstance(model, Mapping):
        return
    backbone, neck = model.get("backbone"), model.get("neck")
    given = _resnet_channels(backbone) if isinstance(backbone, Mapping) else None
    if given and isinstance(neck, Mapping) and isinstance(neck.get("in_channels"), (list, tuple)):
        wanted = list(neck["in_channels"])
        if bare_name(neck.get("type")) in _NECKS and wanted != given[: len(wanted)]:
            yield (
                "model.neck.in_channels",
                f"model.neck.in_channels={wanted}, but model.backbone gives {given}",
            )
    if given and neck is None:
        yield from _heads_on_backbone(model, given)
    if isinstance(neck, Mapping) and bare_name(neck.get("type")) in _NECKS:
        out = neck.get("out_channels")
        for head in _HEADS if isinstance(out, int) else ():
            block = model.get(head)
            taken = block.get("in_channels") if isinstance(block, Mapping) else None
            if isinstance(taken, int) and taken != out:
                yield (
                    f"model.{head}.in_channels",
                    f"model.{head}.in_channels={taken}, but model.neck gives {out}",
                )


def _heads_on_backbone(model: Mapping[str, Any], given: list[int]) -> Iterator[tuple[str, str]]:
    for head in ("decode_head", "auxiliary_head"):
        block = model.get(head)
        if not isinstance(block, Mapping):
            continue
        taken, index = block.get("in_channels"), block.get("in_index", -1)
        known = isinstance(index, int) and -len(given) <= index < len(given)
        if isinstance(taken, int) and known and taken != given[index]:
            yield (
                f"model.{head}.in_channels",
                f"model.{head}.in_channels={taken}, but output {index} of model.backbone has "
                f"{given[index]} channels",
            )


def _resnet_channels(backbone: Mapping[str, Any]) -> list[int] | None:
    name, depth = bare_name(backbone.get("type")), backbone.get("depth")
    if name not in _RESNETS or depth not in _EXPANSION:
        return None
    base = backbone.get("base_channels", 64)
    stages = backbone.get("out_indices", (0, 1, 2, 3))
    if not isinstance(base, int) or not isinstance(stages, (list, tuple)):
        return None
    return [base * 2**stage * _EXPANSION[depth] for stage in stages]


def crop_sizes(trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield crops of the training that are not of the size that batches are padded to."""
    model = trace.cfg.get("model")
    preprocessor = model.get("data_preprocessor") if isinstance(model, Mapping) else None
    size = preprocessor.get("size") if isinstance(preprocessor, Mapping) else None
    if not isinstance(size, (list, tuple)):
        return
    for path, step in walk(trace.cfg.get("train_dataloader"), "train_dataloader"):
        if not isinstance(step, Mapping) or bare_name(step.get("type")) != "RandomCrop":
            continue
        crop = step.get("crop_size")
        if isinstance(crop, (list, tuple)) and tuple(crop) != tuple(size):
            ours = site_of(trace, "model.data_preprocessor.size").file == trace.path
            yield (
                "model.data_preprocessor.size" if ours else f"{path}.crop_size",
                f"{path}.crop_size={tuple(crop)}, but model.data_preprocessor.size={tuple(size)}",
            )
