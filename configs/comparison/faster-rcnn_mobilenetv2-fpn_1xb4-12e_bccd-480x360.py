"""Faster R-CNN on MobileNetV2 with ImageNet weights, BCCD: the detector for an hour of a CPU.

A light Faster R-CNN (arXiv:1506.01497) on an FPN of 96 channels, strides 8 to 64. Convert the
weights of torchvision's MobileNetV2 once, then train:

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors \
        --converter torchvision-mobilenetv2-mmdet
    mmattn train configs/comparison/faster-rcnn_mobilenetv2-fpn_1xb4-12e_bccd-480x360.py \
        data_root=BCCD

Measured: docs/results/detectors_bccd.
"""

_base_ = [
    "../_base_/models/rcnn_mobilenetv2_small.py",
    "../_base_/datasets/folder_boxes.py",
    "../_base_/detection_runtime.py",
]

data_root = "data/bccd"
scale = (480, 360)
channels = 96
model = dict(
    type="FasterRCNN",
    backbone=dict(type="MobileNetV2", out_indices=(2, 4, 6), frozen_stages=0),
    neck=dict(type="FPN", in_channels=[32, 96, 320], out_channels=channels, num_outs=4),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, featmap_strides=[8, 16, 32]),
        bbox_head=dict(in_channels=channels, num_classes="auto"),
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
    test_cfg=dict(rpn=dict(max_per_img=300), rcnn=dict(max_per_img=100)),
)

packed = dict(
    type="PackDetInputs",
    meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "flip", "flip_direction"),
)
train_pipeline = [
    dict(type="RandomResize", scale=scale, ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),  # cells have no upside
    dict(type="PhotoMetricDistortion"),
    packed,
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(dataset=dict(data_root=data_root), pipeline=train_pipeline),
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.3)}, norm_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
max_epochs = 12
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(
        type="CosineAnnealingLR",
        T_max=max_epochs,
        eta_min=1e-5,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=max_epochs, val_interval=4)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=4, save_best="coco/bbox_mAP", max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
)
