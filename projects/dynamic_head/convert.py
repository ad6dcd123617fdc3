"""Published checkpoints of detectors with Dynamic Head, the authors' and mmdet's.

The authors' are detectron2's: ATSS, RetinaNet or Faster R-CNN on a ResNet, or on a Swin
Transformer. They become mmdet's detector with ``neck=[FPN, DynamicHead(bias=True)]``. The names of
``DynamicHead`` are those of mmdet's ``DyHead``, whose checkpoints load as they are; the converter
says which network they are of, and on the way back refuses biases, which mmdet has no place for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from torch import Tensor

from mmattn.errors import CheckpointError
from mmattn.io import resnet_layout, swin_layout
from mmattn.io.convert import Converter, StateDict, register_converter
from mmattn.io.name_pairs import Pairs, renamed, under

_TOWER = "backbone.dyhead_tower"
_FPN = "backbone.backbone"
_BOTTOM_UP = f"{_FPN}.bottom_up"
_BLOCKS = "neck.1.dyhead_blocks"
_BLOCK = {
    "DyConv.0": "spatial_conv_high",
    "DyConv.1": "spatial_conv_mid",
    "DyConv.2": "spatial_conv_low",
}
_IN_BLOCK = {
    **{f"{theirs}.conv": f"{ours}.conv" for theirs, ours in _BLOCK.items()},
    **{f"{theirs}.bn": f"{ours}.norm" for theirs, ours in _BLOCK.items()},
    "AttnConv.1": "scale_attn_module.1",
    "offset": "spatial_conv_offset",
    "relu.fc.0": "task_attn_module.conv1.conv",
    "relu.fc.2": "task_attn_module.conv2.conv",
}
_HEADS = {
    # ATSS
    "head.cls_logits": "bbox_head.atss_cls",
    "head.centerness": "bbox_head.atss_centerness",
    # RetinaNet
    "head.cls_score": "bbox_head.retina_cls",
    # Faster R-CNN
    "proposal_generator.rpn_head.conv": "rpn_head.rpn_conv",
    "proposal_generator.rpn_head.objectness_logits": "rpn_head.rpn_cls",
    "proposal_generator.rpn_head.anchor_deltas": "rpn_head.rpn_reg",
    "roi_heads.box_head.fc1": "roi_head.bbox_head.shared_fcs.0",
    "roi_heads.box_head.fc2": "roi_head.bbox_head.shared_fcs.1",
    "roi_heads.box_predictor.cls_score": "roi_head.bbox_head.fc_cls",
    "roi_heads.box_predictor.bbox_pred": "roi_head.bbox_head.fc_reg",
}
_LEVELS = 5
_FC = re.compile(r"task_attn_module\.conv\d\.conv\.weight$")
_SCALE = re.compile(r"bbox_head\.scales\.\d\.scale$")
# Constants of the images and anchors, which older releases of detectron2 saved.
_CONSTANTS = (
    "pixel_mean",
    "pixel_std",
    "anchor_generator.",
    "proposal_generator.anchor_generator.",
)


def _pairs(state_dict: Mapping[str, Tensor], *, lowest: int) -> Pairs:
    """Return the authors' names of all modules with weights, and ours.

    Args:
        state_dict: Weights, of either side.
        lowest: Number of the pyramid's finest level, 2 or 3.
    """
    swin = any("relative_position_bias_table" in key for key in state_dict)
    return [
        *under(f"{_TOWER}.#.", f"{_BLOCKS}.#.", _IN_BLOCK.items()),
        *under(
            f"{_BOTTOM_UP}.",
            "backbone.",
            swin_layout.AUTHORS_PAIRS if swin else resnet_layout.DETECTRON2_PAIRS,
        ),
        *_pyramid(lowest),
        *_heads(_is_retina(state_dict)),
    ]


def _pyramid(lowest: int) -> Iterator[tuple[str, str]]:
    for level in range(lowest, 6):
        index = level - lowest
        yield f"{_FPN}.fpn_lateral{level}", f"neck.0.lateral_convs.{index}.conv"
        yield f"{_FPN}.fpn_output{level}", f"neck.0.fpn_convs.{index}.conv"
    for level in (6, 7):
        yield f"{_FPN}.top_block.p{level}", f"neck.0.fpn_convs.{level - lowest}.conv"


def _heads(retina: bool) -> Iterator[tuple[str, str]]:
    yield from _HEADS.items()
    yield "head.bbox_pred", f"bbox_head.{'retina' if retina else 'atss'}_reg"
    for level in range(_LEVELS):
        yield f"head.scales.{level}", f"bbox_head.scales.{level}"
    for number in range(_LEVELS):  # convolutions of RetinaNet's towers, a ReLU behind each
        yield f"head.cls_subnet.{2 * number}", f"bbox_head.cls_convs.{number}.conv"
        yield f"head.bbox_subnet.{2 * number}", f"bbox_head.reg_convs.{number}.conv"


def _recognises(state_dict: Mapping[str, Tensor]) -> bool:
    return f"{_TOWER}.0.DyConv.0.conv.weight" in state_dict


def _is_retina(state_dict: Mapping[str, Tensor]) -> bool:
    return "head.cls_score.weight" in state_dict or "bbox_head.retina_cls.weight" in state_dict


def _convert(state_dict: StateDict) -> StateDict:
    lowest = 2 if f"{_FPN}.fpn_lateral2.weight" in state_dict else 3
    found = renamed(state_dict, _pairs(state_dict, lowest=lowest))
    return swin_layout.to_mmdet({key: _as_ours(key, value) for key, value in found.items()})


def _as_ours(key: str, value: Tensor) -> Tensor:
    if _FC.search(key):
        return value[..., None, None]
    if _SCALE.search(key):
        return value.reshape(())
    return value


def _convert_back(state_dict: StateDict) -> StateDict:
    _require_blocks(state_dict)
    # detectron2's frozen norms count no batches.
    kept = {k: v for k, v in state_dict.items() if not k.endswith("num_batches_tracked")}
    if f"{_BLOCKS}.0.spatial_conv_mid.conv.bias" not in kept:
        kept.update(_zero_biases(kept))
    lowest = 2 if "rpn_head.rpn_conv.weight" in kept else 3
    theirs = {key: _as_theirs(key, value) for key, value in kept.items()}
    return renamed(swin_layout.to_authors(theirs), _pairs(kept, lowest=lowest), back=True)


def _as_theirs(key: str, value: Tensor) -> Tensor:
    if _FC.search(key):
        return value.flatten(1)
    if _SCALE.search(key):
        return value.reshape(1)
    return value


def _zero_biases(state_dict: StateDict) -> StateDict:
    """Return biases of 0 for the deformable convolutions: a network computes the same with them."""
    conv = re.compile(rf"{re.escape(_BLOCKS)}\.\d+\.spatial_conv_(high|mid|low)\.conv\.weight")
    return {
        key.replace("weight", "bias"): value.new_zeros(len(value))
        for key, value in state_dict.items()
        if conv.fullmatch(key)
    }


def _require_blocks(state_dict: Mapping[str, Tensor]) -> None:
    if not any(key.startswith(f"{_BLOCKS}.0.") for key in state_dict):
        raise CheckpointError(
            f"no {_BLOCKS}.0 found: the way back is for a detector with neck=[FPN, DynamicHead]; "
            f"the keys begin with {', '.join(list(state_dict)[:3])}"
        )


def _note(state_dict: StateDict) -> str:
    retina, rcnn = _is_retina(state_dict), "roi_heads.box_head.fc1.weight" in state_dict
    detector = "retinanet" if retina else "faster-rcnn" if rcnn else "atss"
    swin = f"{_BOTTOM_UP}.patch_embed.proj.weight" in state_dict
    form = "of the authors' form (bias=True, high_mode='official')"
    if swin and detector != "atss":
        return f"No config of {detector} on a Swin Transformer is there; the neck is {form}."
    backbone = "swin-t_fpn_dyhead_ms-2x" if swin else "r50_fpn_dyhead_1x"
    return f"Matching config: configs/dynamic_head/{detector}_{backbone}_coco.py, {form}."


# mmdet's


def _is_mmdet(state_dict: Mapping[str, Tensor]) -> bool:
    convs = {f"{_BLOCKS}.0.spatial_conv_{name}.conv" for name in ("high", "mid", "low")}
    return {f"{conv}.weight" for conv in convs} <= state_dict.keys() and not (
        {f"{conv}.bias" for conv in convs} & state_dict.keys()
    )


def _to_mmdet(state_dict: StateDict) -> StateDict:
    """Take zero biases away.

    Raises:
        CheckpointError: There are biases that are not 0, or no blocks.
    """
    _require_blocks(state_dict)
    biases = _zero_biases(state_dict).keys() & state_dict.keys()
    largest = max((float(state_dict[key].abs().max()) for key in biases), default=0.0)
    if largest > 0:
        raise CheckpointError(
            f"the deformable convolutions have biases up to {largest:.3g}, and mmdet's DyHead has "
            "no place for them; the norms behind do not cancel them. Use type='mmattn.DynamicHead' "
            "with bias=True there"
        )
    return {key: value for key, value in state_dict.items() if key not in biases}


def _mmdet_note(state_dict: StateDict) -> str:
    count = len({key.split(".")[3] for key in state_dict if key.startswith(f"{_BLOCKS}.")})
    width, channels = state_dict[f"{_BLOCKS}.0.spatial_conv_mid.conv.weight"].shape[:2]
    note = (
        "The names are DynamicHead's own and are kept. Matching neck: "
        f"dict(type='mmattn.DynamicHead', in_channels={channels}, out_channels={width}, "
        f"num_blocks={count})"
    )
    predictor = state_dict.get("bbox_head.atss_cls.weight")
    if predictor is not None:
        note += f"; bbox_head.pred_kernel_size={predictor.shape[2]}"
    return note + "."


register_converter(
    Converter(
        name="dynamic-head-official",
        description="microsoft/DynamicHead -> mmdet's detector with mmattn.DynamicHead",
        recognises=_recognises,
        convert=_convert,
        ignores=_CONSTANTS,
        reverse=_convert_back,
        note=_note,
    )
)
register_converter(
    Converter(
        name="dynamic-head-mmdet",
        description="mmdet's detectors with DyHead -> the same with mmattn.DynamicHead",
        recognises=_is_mmdet,
        convert=dict,
        reverse=_to_mmdet,
        note=_mmdet_note,
    )
)
