"""A small ATSS on three stages of a narrow ResNet-18, which takes plugins after its stages."""

channels = 48
model = dict(
    type="ATSS",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
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
    neck=dict(type="FPN", in_channels=[16, 32, 64], out_channels=channels, num_outs=3),
    bbox_head=dict(
        type="ATSSHead",
        num_classes=6,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=1,
        norm_cfg=dict(type="GN", num_groups=8),
        anchor_generator=dict(
            type="AnchorGenerator",
            ratios=[1.0],
            octave_base_scale=4,
            scales_per_octave=1,
            strides=[4, 8, 16],
        ),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder", target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
        ),
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="GIoULoss", loss_weight=2.0),
        loss_centerness=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=dict(
        assigner=dict(type="ATSSAssigner", topk=9), allowed_border=-1, pos_weight=-1, debug=False
    ),
    test_cfg=dict(
        nms_pre=500,
        min_bbox_size=0,
        score_thr=0.02,
        nms=dict(type="nms", iou_threshold=0.6),
        max_per_img=50,
    ),
)
