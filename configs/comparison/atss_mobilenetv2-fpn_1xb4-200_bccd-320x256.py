"""A light ATSS on MobileNetV2 with ImageNet weights, BCCD: a detector to compare blocks in.

ATSS: Zhang et al., CVPR 2020, arXiv:1912.02424, with towers of one convolution and 64 channels.
This is a test bench, not the system of the paper. Convert the weights of torchvision's MobileNetV2
once, then compare:

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors \
        --converter torchvision-mobilenetv2-mmdet
    OMP_NUM_THREADS=1 mmattn compare \
        configs/comparison/atss_mobilenetv2-fpn_1xb4-200_bccd-320x256.py \
        --insert "none,SE(init='identity'),CBAM(init='identity')" --at neck \
        --seeds 3 --budget 120it --data-root BCCD

Measured: docs/results/compare_identity_bccd.
"""

_base_ = [
    "../_base_/models/atss_small.py",
    "../_base_/datasets/folder_boxes.py",
    "../_base_/detection_runtime_iters.py",
]

data_root = "data/bccd"
scale = (320, 256)
channels = 64
max_iters = 200
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(
        type="MobileNetV2",
        out_indices=(2, 4, 6),
        frozen_stages=0,
        norm_eval=True,  # statistics of four images are worse than those of ImageNet
        init_cfg=dict(
            type="Pretrained", checkpoint="work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors"
        ),
    ),
    neck=dict(in_channels=[32, 96, 320], out_channels=channels),
    bbox_head=dict(
        num_classes="auto",
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(strides=[8, 16, 32]),
    ),
    test_cfg=dict(nms_pre=1000, score_thr=0.01, max_per_img=100),
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
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    **loader,
    batch_size=4,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(dataset=dict(data_root=data_root), pipeline=train_pipeline),
)
val_dataloader = dict(**loader, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    # New blocks inside the backbone learn as fast as the head does.
    paramwise_cfg=dict(
        custom_keys={"backbone": dict(lr_mult=0.3), "backbone.plugins": dict(lr_mult=1.0)},
        norm_decay_mult=0.0,
    ),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=20, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=20, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max_iters),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
)
