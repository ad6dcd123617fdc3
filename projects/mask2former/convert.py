"""Mask2Former's checkpoints of its authors, of transformers and of mmdet, for our heads.

The authors' and transformers' files do not say whether they are for panoptic or for semantic
segmentation, so there are two converters of each: to ``mmattn.Mask2Former``, whose head is
``panoptic_head``, and, by its name, to ``mmattn.EncoderDecoder``, whose head is ``decode_head``.
Panoptic networks for Cityscapes and ADE20K have their classes in the order of semantic
segmentation there, and things first here; the converter reorders them. Files of mmdet 3 and mmseg
have our names already; of mmdet 2, layers number their attentions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io import swin_layout
from mmattn.io.convert import Converter, StateDict, register_converter

from . import checkpoint_names as names

_PANOPTIC, _SEMANTIC = "panoptic_head.", "decode_head."
_ENCODER = "model.pixel_level_module.encoder."
#: Number of classes -> stuff among them, in the authors' order of panoptic networks.
_STUFF = {
    19: range(11),
    150: (
        *(0, 1, 2, 3, 4, 5, 6, 9, 11, 13, 16, 17, 21, 25, 26, 28, 29, 34, 40, 46, 48, 51, 52),
        *(54, 59, 60, 61, 63, 68, 77, 79, 84, 91, 94, 96, 99, 100, 101, 105, 106, 109, 113, 114),
        *(117, 122, 128, 131, 140, 141, 145),
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


def _with_class_order(state_dict: StateDict, head: str, *, back: bool = False) -> StateDict:
    """Put the classes of a panoptic network in our order, things first, or in the authors'."""
    classes = len(state_dict[f"{head}cls_embed.weight"]) - 1
    if head != _PANOPTIC or classes not in _STUFF:
        return state_dict
    stuff = [*_STUFF[classes]]
    order = [i for i in range(classes) if i not in stuff] + stuff + [classes]
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


def _official_pairs(state_dict: StateDict, head: str) -> names.Pairs:
    backbone = names.OFFICIAL_SWIN if _is_swin(state_dict) else names.OFFICIAL_RESNET
    return [
        *names.under("sem_seg_head.", head, names.OFFICIAL_HEAD),
        *names.under("backbone.", "backbone.", backbone),
    ]


def _of_first_version(key: str) -> str:
    """Return the later name of a key of the first files."""
    key = key.replace("predictor.static_query.", "predictor.query_feat.")
    return re.sub(r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)", r"\g<0>pixel_decoder.", key)


def _from_official(head: str) -> Callable[[StateDict], StateDict]:
    def convert(state_dict: StateDict) -> StateDict:
        state_dict = {_of_first_version(key): value for key, value in state_dict.items()}
        found = names.renamed(state_dict, _official_pairs(state_dict, head))
        if _is_swin(found):
            found = swin_layout.to_mmdet(found)
        return _with_class_order(found, head)

    return convert


def _to_official(state_dict: StateDict) -> StateDict:
    head = _head_of(state_dict)
    found = _with_class_order(state_dict, head, back=True)
    pairs = _official_pairs(found, head)
    found = {key: value for key, value in found.items() if "num_batches_tracked" not in key}
    return names.renamed(swin_layout.to_authors(found), pairs, back=True)


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


def _transformers_pairs(state_dict: StateDict, head: str) -> names.Pairs:
    swin = _is_swin(state_dict)
    backbone = names.TRANSFORMERS_SWIN if swin else names.TRANSFORMERS_RESNET
    return [
        *names.under("", head, names.TRANSFORMERS_HEAD),
        *names.under(_ENCODER, "backbone.", backbone),
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


def _from_transformers(head: str) -> Callable[[StateDict], StateDict]:
    def convert(state_dict: StateDict) -> StateDict:
        state_dict = _joined({_as_in_files(key): value for key, value in state_dict.items()})
        found = names.renamed(state_dict, _transformers_pairs(state_dict, head))
        if _is_swin(found):
            found = swin_layout.to_mmdet(found)
        return _with_class_order(found, head)

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


def _to_transformers(state_dict: StateDict) -> StateDict:
    head = _head_of(state_dict)
    found = _with_class_order(state_dict, head, back=True)
    pairs = _transformers_pairs(found, head)
    found = {
        key: value for key, value in found.items() if not key.endswith("relative_position_index")
    }
    renamed = names.renamed(swin_layout.to_authors(found), pairs, back=True)
    separate: StateDict = {}
    for key, value in renamed.items():
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
    pairs = names.under(head, head, names.MMDET_2_HEAD)
    found = names.renamed({key: state_dict[key] for key in older}, pairs)
    others = {key: value for key, value in state_dict.items() if key not in set(older)}
    return {**others, **found}


# What to know


def _note(convert: Callable[[StateDict], StateDict], *, same: bool = False) -> Callable:
    def note(state_dict: StateDict) -> str:
        text = _network_of(convert(state_dict))
        if same and set(convert(state_dict)) == set(state_dict):
            return f"{text} Its names are mmattn's already: the file can be used as it is."
        return (
            f"{text} The weights keep the licence of their source; the authors' are CC-BY-NC-4.0."
        )

    return note


def _network_of(weights: StateDict) -> str:
    """Say which backbone this is, for how many classes and queries, and its config, if any."""
    head = _head_of(weights)
    classes = len(weights[f"{head}cls_embed.weight"]) - 1
    queries = len(weights[f"{head}query_feat.weight"])
    backbone = _backbone_of(weights)
    text = f"Mask2Former, {backbone or 'a backbone of no config'}, {classes} classes, "
    text += f"{queries} queries."
    data = _DATA.get((head, classes))
    if not backbone or not data:
        return text
    if head == _PANOPTIC and classes in _STUFF:
        text += " Classes are in mmattn's order, things first."
    return f"{text} The network of configs/mask2former/mask2former_{backbone}_*_{data}.py."


_DATA = {
    (_PANOPTIC, 80): "coco-instance",
    (_PANOPTIC, 133): "coco-panoptic",
    (_PANOPTIC, 100): "ade20k-instance",
    (_PANOPTIC, 150): "ade20k-panoptic",
    (_PANOPTIC, 8): "cityscapes-instance",
    (_PANOPTIC, 19): "cityscapes-panoptic",
    (_SEMANTIC, 150): "ade20k-semantic",
    (_SEMANTIC, 19): "cityscapes-semantic",
}


def _backbone_of(weights: StateDict) -> str | None:
    def blocks(stage: str) -> int:
        matches = (re.match(rf"backbone\.{stage}\.(?:blocks\.)?(\d+)\.", key) for key in weights)
        return len({match[1] for match in matches if match})

    patches = weights.get("backbone.patch_embed.projection.weight")
    if patches is not None:
        return _SWINS.get((len(patches), blocks(r"stages\.2")))
    return _RESNETS.get(blocks("layer3"))


for _name, _source, _recognises, _from, _back, _leaves_out in (
    (
        "mask2former-official",
        "facebookresearch/Mask2Former",
        _is_official,
        _from_official,
        _to_official,
        _official_left_out,
    ),
    (
        "mask2former-transformers",
        "transformers' Mask2Former",
        _is_transformers,
        _from_transformers,
        _to_transformers,
        _transformers_left_out,
    ),
):
    for _head, _suffix, _target in (
        (_PANOPTIC, "", "mmattn.Mask2Former, instance and panoptic"),
        (_SEMANTIC, "-semantic", "mmattn.EncoderDecoder, semantic"),
    ):
        register_converter(
            Converter(
                name=_name + _suffix,
                description=f"{_source}, {_target}",
                recognises=_recognises,
                convert=_from(_head),
                ignores=_leaves_out,
                reverse=_back,
                note=_note(_from(_head)),
                only_by_name=_head == _SEMANTIC,
            )
        )
register_converter(
    Converter(
        name="mask2former-mmdet",
        description="mmdet's 2.x and 3.x and mmseg's Mask2Former -> mmattn's",
        recognises=_is_mmdet,
        convert=_from_mmdet,
        ignores=("data_preprocessor.",),
        reverse=dict,
        note=_note(_from_mmdet, same=True),
    )
)
