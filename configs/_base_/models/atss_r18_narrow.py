"""A small ATSS on three stages of a narrow ResNet-18, which takes plugins after its stages."""

_base_ = ["./atss_small.py"]

channels = 48
model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        type="mmattn.WithPlugins",
        inner=dict(
            type="mmdet.ResNet",
            depth=18,
            base_channels=16,
            stem_channels=16,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(0, 1, 2),
        ),
        plugins=[],
    ),
    neck=dict(in_channels=[16, 32, 64], out_channels=channels),
    bbox_head=dict(
        num_classes=6,
        in_channels=channels,
        feat_channels=channels,
        norm_cfg=dict(type="GN", num_groups=8),
        anchor_generator=dict(strides=[4, 8, 16]),
    ),
    test_cfg=dict(nms_pre=500, score_thr=0.02, max_per_img=50),
)
