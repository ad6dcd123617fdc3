"""The authors' BEVANet checkpoints for ``BEVANet`` and ``BEVAHead``, and the way back.

Segmentation files hold the loss wrapper's state, so their keys begin with ``model.``; ImageNet
files have no prefix. The authors fill a segmentation network by names and shapes with an ImageNet
file, and so does ``bevanet-official-imagenet``: stages 1 to 4 and the detail branch's last block
are taken, the rest of the end has no place there. ``bevanet-official-classifier`` converts the
whole file, for ``BEVANetClassifier``.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmattn.io.convert import Converter, StateDict, register_converter, rename_keys

# Theirs -> ours. A rule renames a module: it matches a key that equals it or goes on with a dot.
_BASIC = {"conv1": "conv1.conv", "bn1": "conv1.norm", "conv2": "conv2.conv", "bn2": "conv2.norm"}
_SHORTCUT = {"downsample.0": "shortcut.conv", "downsample.1": "shortcut.norm"}
_BOTTLENECK = {**_BASIC, "conv3": "conv3.conv", "bn3": "conv3.norm"}
_CONV_NORM = {"0": "conv", "1": "norm"}
_PRE_ACTIVATED = {"0": "norm", "2": "conv"}
_PRE_ACTIVATED_1X1 = {"0": "norm", "2.pwconv": "conv"}
_POOLED = {"1": "norm", "3.pwconv": "conv"}
_GATE_LAYER = {"0.pwconv": "pointwise", "1.dwconv": "depthwise", "2": "norm"}


def _within(theirs: str, ours: str, rules: Mapping[str, str]) -> dict[str, str]:
    """Return ``rules`` for the submodules of a module."""
    return {f"{theirs}.{key}": f"{ours}.{value}" for key, value in rules.items()}


_PROJECTIONS = {"proj_1.pwconv": "project_in", "proj_2.pwconv": "project_out"}
_STRIPS = {
    "DW_conv.dwconv": "small",
    "DW_D_conv_h.dwconv": "horizontal",
    "DW_D_conv_v.dwconv": "vertical",
    "pwconv.pwconv": "mix",
}
_SELECT = {
    **_within("fc_reduce", "reduce", _GATE_LAYER),
    **_within("fc_expand_small", "expand.small", _GATE_LAYER),
    **_within("fc_expand_big_h", "expand.horizontal", _GATE_LAYER),
    **_within("fc_expand_big_v", "expand.vertical", _GATE_LAYER),
    "conv_squeeze": "spatial",
}
_SDLSKA = {**_STRIPS, **_within("FS_kernel", "select", _SELECT)}
_LSKA = {
    "DW_conv_h.dwconv": "small_horizontal",
    "DW_conv_v.dwconv": "small_vertical",
    "DW_D_conv_h.dwconv": "horizontal",
    "DW_D_conv_v.dwconv": "vertical",
    "pwconv.pwconv": "mix",
}
_EVA = {
    "layer_scale_1": "attention.scale",
    "layer_scale_2": "mlp.scale",
    "norm1": "attention.norm",
    "norm2": "mlp.norm",
    **_within("attn", "attention", _PROJECTIONS),
    **_within("attn.spatial_gating_unit", "attention.gate", _SDLSKA),
    "mlp.fc1.pwconv": "mlp.expand",
    "mlp.dwconv.dwconv": "mlp.depthwise",
    "mlp.fc2.pwconv": "mlp.reduce",
}
_PYRAMID = {
    **_within("scale0", "identity", _PRE_ACTIVATED_1X1),
    **_within("scale1", "pool5", _POOLED),
    **_within("scale2", "pool9", _POOLED),
    **_within("scale4", "mean2", _POOLED),
    **_within("scale5", "mean1", _POOLED),
    "bn": "attention.norm",
    "layer_scale_lska": "attention.scale",
    **_within("lska", "attention", _PROJECTIONS),
    **_within("lska.spatial_gating_unit", "attention.gate", _LSKA),
    **_within("process1", "process.0", _PRE_ACTIVATED),
    **_within("process2", "process.1", _PRE_ACTIVATED),
    **_within("process_lska", "process.2", _PRE_ACTIVATED),
    **_within("process4", "process.3", _PRE_ACTIVATED),
    **_within("process5", "process.4", _PRE_ACTIVATED),
    **_within("compression", "compress", _PRE_ACTIVATED_1X1),
    **_within("shortcut", "shortcut", _PRE_ACTIVATED_1X1),
}


def _attending(place: str, ours: str, suffix: str = "") -> dict[str, str]:
    """Return rules for two EVA blocks with their layer norms, after a stage's first block."""
    rules = {}
    for number in (1, 2):
        rules |= _within(f"layer{place}_{number}{suffix}", f"{ours}.{2 * number - 1}", _EVA)
        rules[f"norm{place}_{number}{suffix}"] = f"{ours}.{2 * number}"
    return rules


def _guide(number: int) -> dict[str, str]:
    ours = f"guide{number}"
    return {
        **_within(f"compression{number}", f"{ours}.compress", _CONV_NORM),
        **_within(f"fuse_sd_{number}.f_x", f"{ours}.embed_detail", _CONV_NORM),
        **_within(f"fuse_sd_{number}.f_y", f"{ours}.embed_semantic", _CONV_NORM),
    }


_BLOCK = {**_BASIC, **_SHORTCUT}
_LAST_BLOCK = {**_BOTTLENECK, **_SHORTCUT}
# "#" stands for the number of a block.
_SHARED = {
    **_within("conv1", "stem", {"0": "0.conv", "1": "0.norm", "3": "2.conv", "4": "2.norm"}),
    **_within("layer1.#", "layer1.#", _BLOCK),
    **_within("layer2.#", "layer2.#", _BLOCK),
    **_within("layer3_semantic.#", "semantic3.#", _BLOCK),
    **_within("layer3_detail.#", "detail3.#", _BLOCK),
    **_guide(3),
    **_within("layer4_down_semantic.0", "semantic4.0", _BLOCK),
    **_attending("4_semantic", "semantic4"),
    **_within("layer4_detail_conv.0", "detail4.0", _BLOCK),
    **_within("layer4_detail", "detail4.1", _EVA),
    "norm4_detail": "detail4.2",
    **_guide(4),
    **_within("layer5_detail_semantic.0", "detail5", _LAST_BLOCK),
}
_SEGMENTATION = {
    **_within("layer5_down_semantic_seg.0", "semantic5.0", _BLOCK),
    **_attending("5_semantic", "semantic5", "_seg"),
    **_within("layer5_detail_boundary.0", "boundary5", _LAST_BLOCK),
    **_within("spp", "context", _PYRAMID),
    **_within("dfm.conv_p", "fusion.detail", _PRE_ACTIVATED),
    **_within("dfm.conv_i", "fusion.semantic", _PRE_ACTIVATED),
    **_within("dfm.out", "fusion.out", _PRE_ACTIVATED),
}
# The classifier's end: BEVANet_CLS_32, whose stage 5 keeps its stride.
_CLASSIFIER = {
    **_within("layer5_down_semantic_cls.0", "semantic_end.0", _LAST_BLOCK),
    **_attending("5_semantic", "semantic_end", "_cls"),
    **_within("layer5_semantic_bn_cls.0", "semantic_end.5", _LAST_BLOCK),
    **_within("layer5_down", "detail_end", {"0": "0.conv", "1": "0.norm", "3": "2.conv"}),
    "layer5_down.4": "detail_end.2.norm",
    **_within("last_layer", "hidden", _CONV_NORM),
    "head": "classify",
}
_HEAD = {"bn1": "conv.norm", "conv1": "conv.conv", "bn2": "norm"}
_HEADS = {
    **_within("head", "main", _HEAD),
    "head.conv2": "conv_seg",
    **_within("seghead_ds", "auxiliary", _HEAD),
    "seghead_ds.conv2": "auxiliary_seg",
    **_within("seghead_db", "boundary", _HEAD),
    "seghead_db.conv2": "boundary_seg",
}
_MODEL = {
    **{theirs: f"backbone.{ours}" for theirs, ours in {**_SHARED, **_SEGMENTATION}.items()},
    **{theirs: f"decode_head.{ours}" for theirs, ours in _HEADS.items()},
}
_WHOLE_CLASSIFIER = {**_SHARED, **_CLASSIFIER}
_IMAGENET_BACK = {ours: theirs for theirs, ours in {**_WHOLE_CLASSIFIER, **_SEGMENTATION}.items()}
_MODEL_BACK = {ours: theirs for theirs, ours in _MODEL.items()}
# In both their layouts, and in no other network's.
_THEIR_MARK = "layer4_semantic_1.attn.spatial_gating_unit.FS_kernel.conv_squeeze.weight"


def _rename(key: str, rules: Mapping[str, str]) -> str | None:
    """Rename ``key`` by the longest matching rule; None if no rule matches."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        head, rest = parts[:length], parts[length:]
        if ".".join(head) in rules:
            return ".".join([rules[".".join(head)], *rest])
        number = next((part for part in head if part.isdigit()), None)
        if number is None:
            continue
        head[head.index(number)] = "#"
        if ".".join(head) in rules:
            return ".".join([rules[".".join(head)].replace("#", number), *rest])
    return None


def _rename_shared(key: str) -> str | None:
    return _rename(key, _SHARED)


def _rename_classifier(key: str) -> str | None:
    return _rename(key, _WHOLE_CLASSIFIER)


def _is_network(state_dict: Mapping[str, Tensor]) -> bool:
    return any(
        prefix + _THEIR_MARK in state_dict and f"{prefix}head.conv2.weight" in state_dict
        for prefix in ("", "model.")
    )


def _is_imagenet(state_dict: Mapping[str, Tensor]) -> bool:
    return _THEIR_MARK in state_dict and "head.conv2.weight" not in state_dict


def _convert(state_dict: StateDict) -> StateDict:
    return rename_keys(state_dict, lambda key: _rename(key.removeprefix("model."), _MODEL))


def _convert_imagenet(state_dict: StateDict) -> StateDict:
    return rename_keys(state_dict, _rename_shared)


def _convert_back(state_dict: StateDict) -> StateDict:
    def rename(key: str) -> str | None:
        theirs = _rename(key, _MODEL_BACK)
        return theirs and f"model.{theirs}"

    return rename_keys(state_dict, rename)


def _convert_classifier(state_dict: StateDict) -> StateDict:
    return rename_keys(state_dict, _rename_classifier)


def _convert_imagenet_back(state_dict: StateDict) -> StateDict:
    """Convert a ``BEVANet``, a ``BEVANetClassifier`` or a part of them, without a prefix.

    Layers that only a segmentation network has get the names of the authors' segmentation network.
    """
    return rename_keys(state_dict, lambda key: _rename(key, _IMAGENET_BACK))


register_converter(
    Converter(
        name="bevanet-official",
        description="maomao0819/BEVANet, a segmentation network -> mmattn BEVANet and BEVAHead",
        recognises=_is_network,
        convert=_convert,
        ignores=("sem_loss.", "bd_loss."),
        reverse=_convert_back,
    )
)
register_converter(
    Converter(
        name="bevanet-official-imagenet",
        description="maomao0819/BEVANet, an ImageNet network -> mmattn BEVANet, all but its end",
        recognises=_is_imagenet,
        convert=_convert_imagenet,
        ignores=lambda key: _rename_shared(key) is None,
        reverse=_convert_imagenet_back,
        note=lambda _: (
            "As with the authors' loader, what a segmentation network adds (semantic5, boundary5, "
            "context, fusion) stays as it is initialised. --converter bevanet-official-classifier "
            "converts the classifier's end too, for BEVANetClassifier."
        ),
    )
)
register_converter(
    Converter(
        name="bevanet-official-classifier",
        description="maomao0819/BEVANet, an ImageNet network -> mmattn BEVANetClassifier",
        recognises=_is_imagenet,
        convert=_convert_classifier,
        reverse=_convert_imagenet_back,
        only_by_name=True,
    )
)
