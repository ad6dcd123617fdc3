"""CCNet with an ImageNet MobileNetV2 on CamVid: small enough to train on two CPU cores.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721. It has no row for this
backbone; on CamVid it reports 79.1 mIoU for its 3D variant on ResNet-101 (the paper's number).

The backbone's weights are torchvision's; bring them into mmseg's layout once, then train:

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet.safetensors --converter torchvision-mobilenetv2-mmseg
    mmattn train configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py

The head sees the maps of stride 8, 16 and 32 side by side, so the backbone keeps its strides and
with them the meaning of its weights. Training sees crops of 180 x 240, the test whole images.
Measured here: 66.36 mIoU on the 101 validation images, see docs/results/ccnet_camvid.
"""

_base_ = ["../_base_/datasets/camvid_360x360.py", "../_base_/default_runtime.py"]

crop_size = (180, 240)
max_iters = 1000  # 22 epochs of 367 images
norm_cfg = dict(type="BN", requires_grad=True)
# 1 / ln(1.1 + share of the class among the labelled training pixels), mean 1 over the pixels.
class_weight = [1.06, 0.88, 2.47, 0.72, 1.88, 1.41, 2.42, 2.43, 1.73, 2.55, 2.63]
# With class weights mmseg averages over the labelled pixels by itself; avg_non_ignore would fail.
loss = dict(type="CrossEntropyLoss", class_weight=class_weight)
head = dict(num_classes=11, norm_cfg=norm_cfg, align_corners=False)

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
        out_indices=(2, 4, 6),
        norm_cfg=norm_cfg,
        init_cfg=dict(
            type="Pretrained", checkpoint="work_dirs/weights/mobilenetv2_imagenet.safetensors"
        ),
    ),
    decode_head=dict(
        **head,
        type="mmattn.CCHead",
        in_channels=[32, 96, 320],
        in_index=[0, 1, 2],
        input_transform="resize_concat",
        channels=128,
        loss_decode=loss,
    ),
    auxiliary_head=dict(
        **head,
        type="FCNHead",
        in_channels=96,
        in_index=1,
        channels=64,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(**loss, loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.6, 1.4), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3)), norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters // 4)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max_iters // 4),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
