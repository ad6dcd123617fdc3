"""Names of Mask2Former's weights in the checkpoints of others, beside ours.

For ``mmattn.io.name_pairs``. Ours are the names of mmdet's and mmseg's heads, without the head's
own name, and of their backbones.
"""

from __future__ import annotations

from mmattn.io.name_pairs import Pairs


def _encoder(theirs: str, names: dict[str, str]) -> Pairs:
    ours = "pixel_decoder.encoder.layers.#"
    return [(f"{theirs}.{name}", f"{ours}.{own}") for name, own in names.items()]


def _decoder(theirs: str, names: dict[str, str]) -> Pairs:
    ours = "transformer_decoder.layers.#"
    return [(f"{theirs}{name}", f"{ours}.{own}") for name, own in names.items()]


#: facebookresearch/Mask2Former, below ``sem_seg_head.``
OFFICIAL_HEAD: Pairs = [
    ("pixel_decoder.input_proj.#.0", "pixel_decoder.input_convs.#.conv"),
    ("pixel_decoder.input_proj.#.1", "pixel_decoder.input_convs.#.gn"),
    ("pixel_decoder.transformer.level_embed", "pixel_decoder.level_encoding.weight"),
    ("pixel_decoder.adapter_1.norm", "pixel_decoder.lateral_convs.0.gn"),
    ("pixel_decoder.adapter_1", "pixel_decoder.lateral_convs.0.conv"),
    ("pixel_decoder.layer_1.norm", "pixel_decoder.output_convs.0.gn"),
    ("pixel_decoder.layer_1", "pixel_decoder.output_convs.0.conv"),
    ("pixel_decoder.mask_features", "pixel_decoder.mask_feature"),
    *_encoder(
        "pixel_decoder.transformer.encoder.layers.#",
        {
            "self_attn": "self_attn",
            "norm1": "norms.0",
            "linear1": "ffn.layers.0.0",
            "linear2": "ffn.layers.1",
            "norm2": "norms.1",
        },
    ),
    *_decoder(
        "predictor.transformer_",
        {
            "cross_attention_layers.#.multihead_attn": "cross_attn.attn",
            "cross_attention_layers.#.norm": "norms.0",
            "self_attention_layers.#.self_attn": "self_attn.attn",
            "self_attention_layers.#.norm": "norms.1",
            "ffn_layers.#.linear1": "ffn.layers.0.0",
            "ffn_layers.#.linear2": "ffn.layers.1",
            "ffn_layers.#.norm": "norms.2",
        },
    ),
    ("predictor.decoder_norm", "transformer_decoder.post_norm"),
    ("predictor.query_feat", "query_feat"),
    ("predictor.query_embed", "query_embed"),
    ("predictor.level_embed", "level_embed"),
    ("predictor.class_embed", "cls_embed"),
    *((f"predictor.mask_embed.layers.{i}", f"mask_embed.{2 * i}") for i in range(3)),
]

_PIXEL = "model.pixel_level_module.decoder"
_QUERY = "model.transformer_module"
#: transformers' ``Mask2FormerForUniversalSegmentation``, files of versions 4 and 5.
TRANSFORMERS_HEAD: Pairs = [
    (f"{_PIXEL}.input_projections.#.0", "pixel_decoder.input_convs.#.conv"),
    (f"{_PIXEL}.input_projections.#.1", "pixel_decoder.input_convs.#.gn"),
    (f"{_PIXEL}.level_embed", "pixel_decoder.level_encoding.weight"),
    (f"{_PIXEL}.adapter_1.0", "pixel_decoder.lateral_convs.0.conv"),
    (f"{_PIXEL}.adapter_1.1", "pixel_decoder.lateral_convs.0.gn"),
    (f"{_PIXEL}.layer_1.0", "pixel_decoder.output_convs.0.conv"),
    (f"{_PIXEL}.layer_1.1", "pixel_decoder.output_convs.0.gn"),
    (f"{_PIXEL}.mask_projection", "pixel_decoder.mask_feature"),
    *_encoder(
        f"{_PIXEL}.encoder.layers.#",
        {
            "self_attn": "self_attn",
            "self_attn_layer_norm": "norms.0",
            "fc1": "ffn.layers.0.0",
            "fc2": "ffn.layers.1",
            "final_layer_norm": "norms.1",
        },
    ),
    *_decoder(
        f"{_QUERY}.decoder.layers.#.",
        {
            "cross_attn": "cross_attn.attn",
            "cross_attn_layer_norm": "norms.0",
            "self_attn": "self_attn.attn",
            "self_attn_layer_norm": "norms.1",
            "fc1": "ffn.layers.0.0",
            "fc2": "ffn.layers.1",
            "final_layer_norm": "norms.2",
        },
    ),
    (f"{_QUERY}.decoder.layernorm", "transformer_decoder.post_norm"),
    (f"{_QUERY}.queries_features", "query_feat"),
    (f"{_QUERY}.queries_embedder", "query_embed"),
    (f"{_QUERY}.level_embed", "level_embed"),
    ("class_predictor", "cls_embed"),
    *(
        (f"{_QUERY}.decoder.mask_predictor.mask_embedder.{i}.0", f"mask_embed.{2 * i}")
        for i in range(3)
    ),
]

#: transformers' ResNet, below ``model.pixel_level_module.encoder.``
TRANSFORMERS_RESNET: Pairs = [
    ("embedder.embedder.convolution", "conv1"),
    ("embedder.embedder.normalization", "bn1"),
    *(
        (f"encoder.stages.{stage - 1}.layers.#.{theirs}", f"layer{stage}.#.{ours}")
        for stage in range(1, 5)
        for theirs, ours in [
            *((f"layer.{i - 1}.convolution", f"conv{i}") for i in (1, 2, 3)),
            *((f"layer.{i - 1}.normalization", f"bn{i}") for i in (1, 2, 3)),
            ("shortcut.convolution", "downsample.0"),
            ("shortcut.normalization", "downsample.1"),
        ]
    ),
]

_BLOCK = "encoder.layers.#.blocks.#"
_OWN_BLOCK = "stages.#.blocks.#"
#: transformers' Swin, below the same; queries, keys and values are three layers there.
TRANSFORMERS_SWIN: Pairs = [
    ("embeddings.patch_embeddings.projection", "patch_embed.projection"),
    ("embeddings.norm", "patch_embed.norm"),
    (f"{_BLOCK}.layernorm_before", f"{_OWN_BLOCK}.norm1"),
    (f"{_BLOCK}.attention.self", f"{_OWN_BLOCK}.attn.w_msa"),
    (f"{_BLOCK}.attention.output.dense", f"{_OWN_BLOCK}.attn.w_msa.proj"),
    (f"{_BLOCK}.layernorm_after", f"{_OWN_BLOCK}.norm2"),
    (f"{_BLOCK}.intermediate.dense", f"{_OWN_BLOCK}.ffn.layers.0.0"),
    (f"{_BLOCK}.output.dense", f"{_OWN_BLOCK}.ffn.layers.1"),
    ("encoder.layers.#.downsample", "stages.#.downsample"),
    *((f"hidden_states_norms.stage{i + 1}", f"norm{i}") for i in range(4)),
]

#: mmdet before 3.0, where layers number their attentions; ours are those of 3.x.
MMDET_2_HEAD: Pairs = [
    *_encoder(
        "pixel_decoder.encoder.layers.#",
        {"attentions.0": "self_attn", "ffns.0": "ffn", "norms": "norms"},
    ),
    *_decoder(
        "transformer_decoder.layers.#.",
        {
            "attentions.0": "cross_attn",
            "attentions.1": "self_attn",
            "ffns.0": "ffn",
            "norms": "norms",
        },
    ),
]
