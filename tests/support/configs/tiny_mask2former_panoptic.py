"""Mask2Former for panoptic maps, small enough for a test; data: generated shapes."""
# ruff: noqa: C408  (dict(...) is how configs are written)

_base_ = ["./tiny_panoptic.py"]

model = dict(
    _delete_=True,
    type="mmattn.Mask2Former",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        pad_seg=True,
        seg_pad_value=255,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=8,
        stem_channels=8,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type="BN"),
        norm_eval=False,
    ),
    panoptic_head=dict(
        type="mmattn.Mask2FormerHead",
        in_channels=[8, 16, 32, 64],
        num_things_classes=6,
        num_stuff_classes=4,
        num_queries=10,
        channels=32,
        num_heads=2,
        encoder_layers=1,
        encoder_ffn_channels=32,
        decoder_layers=3,
        decoder_ffn_channels=32,
        loss_cfg=dict(num_points=64),
    ),
    panoptic_fusion_head=dict(
        type="mmattn.Mask2FormerFusionHead", num_things_classes=6, num_stuff_classes=4
    ),
    test_cfg=dict(panoptic_on=True, object_mask_thr=0.0, iou_thr=0.0),
)
