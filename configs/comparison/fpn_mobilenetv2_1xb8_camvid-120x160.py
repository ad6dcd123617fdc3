"""MobileNetV2 with an FPN on CamVid at half size: light enough to compare blocks on one thread.

This is a test bench, not the system of a paper. The backbone starts from torchvision's ImageNet
weights in mmseg's layout: convert them once, then compare:

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet.safetensors --converter torchvision-mobilenetv2-mmseg
    OMP_NUM_THREADS=1 mmattn compare \
        configs/comparison/fpn_mobilenetv2_1xb8_camvid-120x160.py \
        --insert none,SE,CBAM,ECA,ELA-T,ELA-B,CoordAtt,CrissCross --at backbone.layer5 \
        --seeds 3 --budget 120it --data-root data/camvid

backbone.layer5 is the last stage of stride 16. Its 96 channels are a multiple of 32, which ELA-T
needs; a block there acts on the head through its own level and through the two stages after
it. A step takes about 0.35 s of one core, a run about a minute.
Measured here: see docs/results/compare_camvid.
"""

_base_ = ["../_base_/datasets/camvid_360x360.py", "../_base_/default_runtime.py"]

crop_size = (120, 160)
max_iters = 120
norm_cfg = dict(type="BN", requires_grad=True)
# 1 / ln(1.02 + share of the class among the labelled training pixels), mean 1 over the pixels.
class_weight = [0.80, 0.61, 4.79, 0.48, 2.21, 1.25, 4.50, 4.57, 1.83, 5.43, 6.27]

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        size=crop_size,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="MobileNetV2",
        out_indices=(1, 2, 4, 6),
        norm_cfg=norm_cfg,
        init_cfg=dict(
            type="Pretrained", checkpoint="work_dirs/weights/mobilenetv2_imagenet.safetensors"
        ),
    ),
    neck=dict(type="FPN", in_channels=[24, 32, 96, 320], out_channels=48, num_outs=4),
    decode_head=dict(
        type="FPNHead",
        in_channels=[48, 48, 48, 48],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=48,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        # With class weights mmseg averages over the labelled pixels by itself.
        loss_decode=dict(type="CrossEntropyLoss", class_weight=class_weight),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

# Everything happens at half the images' size; the ground truth of the test keeps its own.
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(320, 240), ratio_range=(0.6, 1.4), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(320, 240), keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-3, weight_decay=0.01),
    # New blocks inside the backbone learn as fast as the head does.
    paramwise_cfg=dict(
        custom_keys={"backbone": dict(lr_mult=0.3), "backbone.plugins": dict(lr_mult=1.0)},
        norm_decay_mult=0.0,
    ),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=12, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=12, end=max_iters, by_epoch=False),
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
    visualization=dict(type="SegVisualizationHook"),
)
