"""YOLOv12-N turbo; the other scales change the numbers of channels, units and ``scale``."""

model = dict(
    type="mmdet.SingleStageDetector",
    data_preprocessor=dict(
        type="mmdet.DetDataPreprocessor",
        mean=[0.0, 0.0, 0.0],
        std=[255.0, 255.0, 255.0],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255,  # pads what is scaled already
    ),
    backbone=dict(type="mmattn.YOLOv12Backbone", scale="n"),
    neck=dict(
        type="mmattn.YOLOv12Neck",
        in_channels=[128, 128, 256],
        out_channels=[64, 128, 256],
        num_units=1,
    ),
    bbox_head=dict(type="mmattn.YOLOv12Head", num_classes=80, in_channels=[64, 128, 256]),
    test_cfg=dict(
        score_thr=0.001,
        nms_pre=30_000,
        nms=dict(type="nms", iou_threshold=0.7),
        max_per_img=300,
    ),
)
