"""Arguments of mmdet's ``Mask2FormerHead`` as ours, so that its configs need one line changed.

Numbers are taken over; what has one value here has to have that value there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmattn.errors import ConfigError

#: Arguments that mmdet's head has and ours has not.
_THEIRS = (
    *("strides", "feat_channels", "out_channels", "num_transformer_feat_level", "pixel_decoder"),
    *("enforce_decoder_input_project", "transformer_decoder", "positional_encoding"),
    *("loss_cls", "loss_mask", "loss_dice"),
)
#: Ours -> the place of the same number there.
_NETWORK = {
    "channels": "feat_channels",
    "num_levels": "num_transformer_feat_level",
    "num_heads": "pixel_decoder.encoder.layer_cfg.self_attn_cfg.num_heads",
    "num_points": "pixel_decoder.encoder.layer_cfg.self_attn_cfg.num_points",
    "encoder_layers": "pixel_decoder.encoder.num_layers",
    "encoder_ffn_channels": "pixel_decoder.encoder.layer_cfg.ffn_cfg.feedforward_channels",
    "decoder_layers": "transformer_decoder.num_layers",
    "decoder_ffn_channels": "transformer_decoder.layer_cfg.ffn_cfg.feedforward_channels",
}
_LOSS = {
    "class_gain": "loss_cls.loss_weight",
    "mask_gain": "loss_mask.loss_weight",
    "dice_gain": "loss_dice.loss_weight",
    "num_points": "train_cfg.num_points",
    "oversample_ratio": "train_cfg.oversample_ratio",
    "importance_sample_ratio": "train_cfg.importance_sample_ratio",
}


def from_mmdet(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a head's arguments as ours; those that are ours already are returned as they are.

    Args:
        arguments: Keyword arguments of mmdet's head, or of ours.

    Raises:
        ConfigError: A value of mmdet's is not what this network does, or is not known.
    """
    theirs = {key: arguments[key] for key in _THEIRS if key in arguments}
    if not theirs:
        return dict(arguments)
    own = {key: value for key, value in arguments.items() if key not in (*_THEIRS, "train_cfg")}
    theirs["train_cfg"] = arguments.get("train_cfg") or {}
    leaves = dict(_leaves(theirs))
    network = {name: leaves[place] for name, place in _NETWORK.items() if place in leaves}
    loss = {name: leaves[place] for name, place in _LOSS.items() if place in leaves}
    weights = list(leaves.pop("loss_cls.class_weight", None) or [])
    if weights:
        if any(weight != 1 for weight in weights[:-1]):
            raise ConfigError(
                f"loss_cls.class_weight={weights}: must be 1 for all classes but the last, "
                "'no object'"
            )
        loss["no_object_weight"] = weights[-1]
    _require_same(leaves, network, loss)
    return {**network, **own, "loss_cfg": {**loss, **(arguments.get("loss_cfg") or {})}}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield places and values; a list of numbers is a value, one of dicts is not."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for inner in value:
            yield from _leaves(inner, f"{path}.{str(inner.get('type')).rpartition('.')[2]}")
    else:
        yield path, value


def _require_same(
    leaves: Mapping[str, Any],
    network: Mapping[str, Any],
    loss: Mapping[str, Any],
) -> None:
    """Raise a ConfigError for the first value that is another one here."""
    channels = network.get("channels", 256)
    gains = {name: loss.get(f"{name}_gain") for name in ("class", "mask", "dice")}
    same: dict[str, Any] = {
        "out_channels": channels,
        "strides": [4, 8, 16, 32],
        "embed_dims": channels,
        "num_feats": channels // 2,
        "num_heads": network.get("num_heads", 8),
        "num_levels": network.get("num_levels", 3),
        "num_outs": network.get("num_levels", 3),
        "num_groups": 32,
        "num_fcs": 2,
        "im2col_step": 64,
        "eps": 1.0,
        "normalize": True,
        "add_identity": True,
        "batch_first": True,
        "return_intermediate": True,
        "naive_dice": True,
        "activate": True,
        "pred_act": True,
        "inplace": True,
        "enforce_decoder_input_project": False,
        "reduction": "mean",
        "ClassificationCost.weight": gains["class"],
        "CrossEntropyLossCost.weight": gains["mask"],
        "DiceCost.weight": gains["dice"],
    }
    types = {
        "pixel_decoder.type": "MSDeformAttnPixelDecoder",
        "pixel_decoder.norm_cfg.type": "GN",
        "train_cfg.assigner.type": "HungarianAssigner",
        "train_cfg.sampler.type": "MaskPseudoSampler",
        "loss_cls.type": "CrossEntropyLoss",
        "loss_mask.type": "CrossEntropyLoss",
        "loss_dice.type": "DiceLoss",
        "act_cfg.type": "ReLU",
    }
    taken = {*_NETWORK.values(), *_LOSS.values()}
    for place, value in leaves.items():
        if place in taken:
            continue
        parts = place.split(".")
        name, last_two = parts[-1], ".".join(parts[-2:])
        if name == "type":
            expected = types.get(place) or types.get(last_two, parts[-2])
            value = str(value).rpartition(".")[2]
        elif name in ("dropout", "ffn_drop", "attn_drop", "proj_drop"):
            expected = 0.0
        elif name in ("init_cfg", "dropout_layer") or place.endswith("self_attn_cfg.norm_cfg"):
            expected = None
        elif name == "use_sigmoid":
            expected = parts[0] != "loss_cls"
        else:
            expected = same.get(last_two, same.get(name, _NONE))
        if expected is _NONE:
            raise ConfigError(f"mmattn.Mask2FormerHead does not know mmdet's {place}={value!r}")
        if value != expected:
            raise ConfigError(
                f"{place} must be {expected!r} for mmattn.Mask2FormerHead, got {value!r}"
            )


_NONE = object()
