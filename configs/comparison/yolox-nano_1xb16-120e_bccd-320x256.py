"""YOLOX-nano beside YOLOv12-N on BCCD: the same images, augmentation, optimiser and schedule.

YOLOX, arXiv:2107.08430: network, loss and assigner are mmdet's, from random weights.

    mmattn train configs/comparison/yolox-nano_1xb16-120e_bccd-320x256.py data_root=BCCD
"""

_base_ = ["../yolov12/yolov12-n_1xb16-120e_bccd-320x256.py"]

norm_cfg = dict(type="BN", momentum=0.03, eps=0.001)
act_cfg = dict(type="Swish")
shared = dict(use_depthwise=True, norm_cfg=norm_cfg, act_cfg=act_cfg)
model = dict(
    _delete_=True,
    type="YOLOX",
    # YOLOX takes pixels from 0 to 255 in the order that they are stored in.
    data_preprocessor=dict(type="DetDataPreprocessor", pad_size_divisor=32, pad_value=114),
    backbone=dict(
        type="CSPDarknet",
        deepen_factor=0.33,
        widen_factor=0.25,
        out_indices=(2, 3, 4),
        **shared,
    ),
    neck=dict(
        type="YOLOXPAFPN",
        in_channels=[64, 128, 256],
        out_channels=64,
        num_csp_blocks=1,
        upsample_cfg=dict(scale_factor=2, mode="nearest"),
        **shared,
    ),
    bbox_head=dict(
        type="YOLOXHead",
        num_classes="auto",
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        strides=(8, 16, 32),
        **shared,
    ),
    train_cfg=dict(assigner=dict(type="SimOTAAssigner", center_radius=2.5)),
    test_cfg=dict(score_thr=0.001, max_per_img=300, nms=dict(type="nms", iou_threshold=0.65)),
)
