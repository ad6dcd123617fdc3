"""Mask2Former's checkpoints of its authors, of transformers and of mmdet, for our heads.

The authors' and transformers' files do not say whether they are for panoptic or for semantic
segmentation, nor for which data. So there are several converters of each: to
``mmattn.Mask2Former``, whose head is ``panoptic_head``, and, by their names,

    -semantic     to ``mmattn.EncoderDecoder``, whose head is ``decode_head``
    -cityscapes   panoptic networks for Cityscapes and ADE20K, which have their classes in the order
    -ade20k       of semantic segmentation there, and things first here

Files of mmdet 3 and mmseg have our names already; of mmdet 2, layers number their attentions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io import resnet_layout, swin_layout
from mmattn.io.convert import Converter, StateDict, register_converter
from mmattn.io.name_pairs import Pairs, renamed, under

from . import checkpoint_names as names

_PANOPTIC, _SEMANTIC = "panoptic_head.", "decode_head."
_ENCODER = "model.pixel_level_module.encoder."
#: Dataset -> number of its classes, and stuff among them in the authors' order.
_ORDERS: dict[str, tuple[int, Sequence[int]]] = {
    "cityscapes": (19, range(11)),
    "ade20k": (
        150,
        (
            *(0, 1, 2, 3, 4, 5, 6, 9, 11, 13, 16, 17, 21, 25, 26, 28, 29, 34, 40, 46, 48, 51, 52),
            *(54, 59, 60, 61, 63, 68, 77, 79, 84, 91, 94, 96, 99, 100, 101, 105, 106, 109, 113),
            *(114, 117, 122, 128, 131, 140, 141, 145),
        ),
    ),
}
_SWINS = {(96, 6): "swin-t", (96, 18): "swin-s", (128, 18): "swin-b", (192, 18): "swin-l"}
_RESNETS = {6: "r50", 23: "r101"}


def _is_swin(state_dict: Mapping[str, Tensor]) -> bool:
    return any("relative_position_bias_table" in key for key in state_dict)


def _head_of(state_dict: Mapping[str, Tensor]) -> str:
    """Return the prefix of our head, of whichever sort it is."""
    for head in (_PANOPTIC, _SEMANTIC):
        if f"{head}cls_embed.weight" in state_dict:
            return head
    raise CheckpointError(
        "these are no weights of mmattn's Mask2Former: there is neither panoptic_head.cls_embed "
        "nor decode_head.cls_embed"
    )


def _with_class_order(
    state_dict: StateDict, dataset: str | None, *, back: bool = False
) -> StateDict:
    """Put the classes of a dataset's panoptic network in our order, things first.

    Args:
        state_dict: Weights under our names.
        dataset: Key of ``_ORDERS``; None leaves the order.
        back: From our order to the authors'.

    Raises:
        CheckpointError: The network is for another number of classes.
    """
    if dataset is None:
        return state_dict
    count, stuff = _ORDERS[dataset]
    head = _head_of(state_dict)
    classes = len(state_dict[f"{head}cls_embed.weight"]) - 1
    if classes != count or head != _PANOPTIC:
        raise CheckpointError(
            f"{classes} classes under {head.rstrip('.')}, and a panoptic network for {dataset} has "
            f"{count} under panoptic_head: take the converter without the ending -{dataset}, which "
            "leaves the order of the classes"
        )
    order = [i for i in range(classes) if i not in stuff] + [*stuff, classes]
    rows = torch.tensor(order)
    if back:
        rows = rows.argsort()
    changed = dict(state_dict)
    for entry in ("weight", "bias"):
        key = f"{head}cls_embed.{entry}"
        changed[key] = state_dict[key][rows.to(state_dict[key].device)]
    return changed


# The authors' files


def _is_official(state_dict: Mapping[str, Tensor]) -> bool:
    head = "sem_seg_head.predictor."
    return (
        f"{head}transformer_cross_attention_layers.0.multihead_attn.in_proj_weight" in state_dict
        and f"{head}class_embed.weight" in state_dict
    )


def _official_left_out(key: str) -> bool:
    return key.startswith(("criterion.", "pixel_mean", "pixel_std"))


def _official_pairs(state_dict: StateDict, head: str) -> Pairs:
    backbone = swin_layout.AUTHORS_PAIRS if _is_swin(state_dict) else resnet_layout.DETECTRON2_PAIRS
    return [
        *under("sem_seg_head.", head, names.OFFICIAL_HEAD),
        *under("backbone.", "backbone.", backbone),
    ]


def _of_first_version(key: str) -> str:
    """Return the later name of a key of the first files."""
    key = key.replace("predictor.static_query.", "predictor.query_feat.")
    return re.sub(r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)", r"\g<0>pixel_decoder.", key)


def _from_official(head: str, dataset: str | None) -> Callable[[StateDict], StateDict]:
    def convert(state_dict: StateDict) -> StateDict:
        state_dict = {_of_first_version(key): value for key, value in state_dict.items()}
        found = renamed(state_dict, _official_pairs(state_dict, head))
        if _is_swin(found):
            found = swin_layout.to_mmdet(found)
        return _with_class_order(found, dataset)

    return convert


def _to_official(state_dict: StateDict, dataset: str | None) -> StateDict:
    head = _head_of(state_dict)
    found = _with_class_order(state_dict, dataset, back=True)
    pairs = _official_pairs(found, head)
    found = {key: value for key, value in found.items() if "num_batches_tracked" not in key}
    return renamed(swin_layout.to_authors(found), pairs, back=True)


# transformers' files


def _is_transformers(state_dict: Mapping[str, Tensor]) -> bool:
    return (
        "class_predictor.weight" in state_dict
        and "model.transformer_module.queries_features.weight" in state_dict
        and "model.pixel_level_module.decoder.mask_projection.weight" in state_dict
    )


def _transformers_left_out(key: str) -> bool:
    """Return whether a key is of the loss, or of a norm that Mask2Former's Swin does not use."""
    return key.startswith(
        ("criterion.", f"{_ENCODER}swin.layernorm.", f"{_ENCODER}layernorm.")
    ) or key.endswith("relative_position_index")  # ours is computed


def _transformers_pairs(state_dict: StateDict, head: str) -> Pairs:
    swin = _is_swin(state_dict)
    backbone = names.TRANSFORMERS_SWIN if swin else names.TRANSFORMERS_RESNET
    return [
        *under("", head, names.TRANSFORMERS_HEAD),
        *under(_ENCODER, "backbone.", backbone),
    ]


#: Names in the memory of version 5, which its files do not have.
_IN_MEMORY = [
    (r"^(model\.pixel_level_module\.encoder\.)swin\.", r"\1"),
    (r"\.blocks\.(\d+)\.attention\.q_proj\.", r".blocks.\1.attention.self.query."),
    (r"\.blocks\.(\d+)\.attention\.k_proj\.", r".blocks.\1.attention.self.key."),
    (r"\.blocks\.(\d+)\.attention\.v_proj\.", r".blocks.\1.attention.self.value."),
    (r"\.blocks\.(\d+)\.attention\.o_proj\.", r".blocks.\1.attention.output.dense."),
    (r"\.attention\.relative_position_bias\.", ".attention.self."),
    (r"\.blocks\.(\d+)\.mlp\.fc1\.", r".blocks.\1.intermediate.dense."),
    (r"\.blocks\.(\d+)\.mlp\.fc2\.", r".blocks.\1.output.dense."),
]
#: Query, key and value of an attention -> the layer that is all three here.
_THREE_IN_ONE = [
    (("attention.self.query.", "attention.self.key.", "attention.self.value."), "self.qkv."),
    (("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."), "in_proj_"),
]


def _from_transformers(head: str, dataset: str | None) -> Callable[[StateDict], StateDict]:
    def convert(state_dict: StateDict) -> StateDict:
        state_dict = _joined({_as_in_files(key): value for key, value in state_dict.items()})
        found = renamed(state_dict, _transformers_pairs(state_dict, head))
        if _is_swin(found):
            found = swin_layout.to_mmdet(found)
        return _with_class_order(found, dataset)

    return convert


def _as_in_files(key: str) -> str:
    for pattern, name in _IN_MEMORY:
        key = re.sub(pattern, name, key)
    return key


def _joined(state_dict: StateDict) -> StateDict:
    """Join queries, keys and values, in the order in which they are here."""
    joined = dict(state_dict)
    for parts, whole in _THREE_IN_ONE:
        first = parts[0]
        for key in [key for key in joined if first in key]:
            missing = [p for p in parts if key.replace(first, p) not in joined]
            if missing:
                raise CheckpointError(
                    f"{key} is there without {key.replace(first, missing[0])}: the attention is "
                    "not complete"
                )
            values = [joined.pop(key.replace(first, part)) for part in parts]
            joined[key.replace(first, first.partition(".")[0] + "." + whole)] = torch.cat(values)
    return joined


def _to_transformers(state_dict: StateDict, dataset: str | None) -> StateDict:
    head = _head_of(state_dict)
    found = _with_class_order(state_dict, dataset, back=True)
    pairs = _transformers_pairs(found, head)
    found = {
        key: value for key, value in found.items() if not key.endswith("relative_position_index")
    }
    found = renamed(swin_layout.to_authors(found), pairs, back=True)
    separate: StateDict = {}
    for key, value in found.items():
        for parts, whole in _THREE_IN_ONE:
            joined = parts[0].partition(".")[0] + "." + whole
            if joined in key:
                values = value.chunk(3)
                separate |= {
                    key.replace(joined, part): x for part, x in zip(parts, values, strict=True)
                }
                break
        else:
            separate[key] = value
    return separate


# mmdet's and mmseg's files


def _is_mmdet(state_dict: Mapping[str, Tensor]) -> bool:
    return any(
        f"{head}pixel_decoder.mask_feature.weight" in state_dict
        and f"{head}query_feat.weight" in state_dict
        for head in (_PANOPTIC, _SEMANTIC)
    )


def _from_mmdet(state_dict: StateDict) -> StateDict:
    head = _head_of(state_dict)
    numbered = [key for key in state_dict if re.search(r"\.layers\.\d+\.attentions\.\d\.", key)]
    if not numbered:
        return dict(state_dict)
    older = [key for key in state_dict if re.match(rf"{head}\w+(\.encoder)?\.layers\.", key)]
    pairs = under(head, head, names.MMDET_2_HEAD)
    found = renamed({key: state_dict[key] for key in older}, pairs)
    others = {key: value for key, value in state_dict.items() if key not in set(older)}
    return {**others, **found}


# What to know


def _note(
    convert: Callable[[StateDict], StateDict], name: str, dataset: str | None
) -> Callable[[StateDict], str]:
    def note(state_dict: StateDict) -> str:
        found = convert(state_dict)
        text = _network_of(found) + _order_of(found, name, dataset)
        return (
            f"{text} The weights keep the licence of their source; the authors' are CC-BY-NC-4.0."
        )

    return note


def _mmdet_note(state_dict: StateDict) -> str:
    found = _from_mmdet(state_dict)
    if found.keys() == state_dict.keys():
        own = "Its names are mmattn's already: the file can be used as it is."
    else:
        own = "The weights keep the licence of their source."
    return f"{_network_of(found)} {own}"


def _network_of(weights: StateDict) -> str:
    """Say which backbone this is, for how many classes and queries, and its config, if any."""
    head = _head_of(weights)
    classes = len(weights[f"{head}cls_embed.weight"]) - 1
    queries = len(weights[f"{head}query_feat.weight"])
    backbone = _backbone_of(weights)
    text = f"Mask2Former, {backbone or 'a backbone of no config'}, {classes} classes, "
    text += f"{queries} queries."
    data, few = _CONFIGS.get((head, classes), ("", ()))
    if not data or backbone is None or (few and backbone not in few):
        return text
    return f"{text} The network of configs/mask2former/mask2former_{backbone}*_{data}.py."


def _order_of(weights: StateDict, name: str, dataset: str | None) -> str:
    """Say in which order the classes are, where that may not be the configs'."""
    if dataset is not None:
        return " Classes are in mmattn's order, things first."
    head = _head_of(weights)
    classes = len(weights[f"{head}cls_embed.weight"]) - 1
    same = [data for data, (count, _) in _ORDERS.items() if count == classes]
    if head != _PANOPTIC or not same:
        return ""
    return (
        f" Classes are in the file's order. If it is a panoptic network for {same[0]} of the "
        f"authors, take --converter {name}-{same[0]}, which puts things first as the configs have "
        f"them; if it is a semantic one, {name}-semantic."
    )


#: Head and number of classes -> end of the names of configs, and backbones if these are not all.
_CONFIGS: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {
    (_PANOPTIC, 80): ("coco-instance", ()),
    (_PANOPTIC, 133): ("coco-panoptic", ()),
    (_PANOPTIC, 100): ("ade20k-instance", ("r50", "swin-l")),
    (_PANOPTIC, 150): ("ade20k-panoptic", ("r50", "swin-l")),
    (_PANOPTIC, 8): ("cityscapes-instance", ()),
    (_PANOPTIC, 19): ("cityscapes-panoptic", ()),
    (_SEMANTIC, 150): ("ade20k-semantic", ()),
    (_SEMANTIC, 19): ("cityscapes-semantic", ()),
}


def _backbone_of(weights: StateDict) -> str | None:
    def blocks(stage: str) -> int:
        matches = (re.match(rf"backbone\.{stage}\.(?:blocks\.)?(\d+)\.", key) for key in weights)
        return len({match[1] for match in matches if match})

    patches = weights.get("backbone.patch_embed.projection.weight")
    if patches is not None:
        return _SWINS.get((len(patches), blocks(r"stages\.2")))
    return _RESNETS.get(blocks("layer3"))


def _reverse(
    back: Callable[[StateDict, str | None], StateDict], dataset: str | None
) -> Callable[[StateDict], StateDict]:
    def reverse(state_dict: StateDict) -> StateDict:
        return back(state_dict, dataset)

    return reverse


def _register(
    name: str,
    source: str,
    recognises: Callable[[Mapping[str, Tensor]], bool],
    convert: Callable[[str, str | None], Callable[[StateDict], StateDict]],
    back: Callable[[StateDict, str | None], StateDict],
    ignores: Callable[[str], bool],
) -> None:
    """Register the converters of one source: one by the keys, the others by their names."""
    rows: list[tuple[str, str, str | None, str]] = [
        ("", _PANOPTIC, None, "mmattn.Mask2Former, instance and panoptic"),
        ("-semantic", _SEMANTIC, None, "mmattn.EncoderDecoder, semantic"),
        *(
            (f"-{dataset}", _PANOPTIC, dataset, f"mmattn.Mask2Former, things of {dataset} first")
            for dataset in _ORDERS
        ),
    ]
    for ending, head, dataset, target in rows:
        from_source = convert(head, dataset)
        register_converter(
            Converter(
                name=name + ending,
                description=f"{source}, {target}",
                recognises=recognises,
                convert=from_source,
                ignores=ignores,
                reverse=_reverse(back, dataset),
                note=_note(from_source, name, dataset),
                only_by_name=bool(ending),
            )
        )


_register(
    "mask2former-official",
    "facebookresearch/Mask2Former",
    _is_official,
    _from_official,
    _to_official,
    _official_left_out,
)
_register(
    "mask2former-transformers",
    "transformers' Mask2Former",
    _is_transformers,
    _from_transformers,
    _to_transformers,
    _transformers_left_out,
)
register_converter(
    Converter(
        name="mask2former-mmdet",
        description="mmdet's 2.x and 3.x and mmseg's Mask2Former -> mmattn's",
        recognises=_is_mmdet,
        convert=_from_mmdet,
        ignores=("data_preprocessor.",),
        reverse=dict,
        note=_mmdet_note,
    )
)
