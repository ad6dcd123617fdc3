"""Mask2Former, half as wide, on an ImageNet MobileNetV2; CamVid, semantic, in the time of CCNet.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row: a network for a CPU, with 3
and 3 layers instead of 6 and 9 and 128 channels instead of 256. Images, crops, and their order are
those of configs/ccnet/ccnet_mobilenetv2_1xb8-1k_camvid-180x240.py. Measured here: 68.47
mIoU on the 101 validation images, docs/results/mask2former_camvid; no accuracy of the paper is
reproduced.

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors \
        --converter torchvision-mobilenetv2-mmdet
    mmattn train configs/mask2former/mask2former_mobilenetv2_1xb8-800_camvid-semantic-180x240.py
"""

_base_ = [
    "../_base_/datasets/camvid_360x360.py",
    "../_base_/schedules/mask2former_500i_small.py",
    "../_base_/default_runtime.py",
]

crop_size = (180, 240)
model = dict(
    type="mmattn.EncoderDecoder",
    data_preprocessor=dict(
        type="mmseg.SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
    ),
    # mmdet's, as its stages have the strides 4, 8, 16 and 32; mmseg's has others.
    backbone=dict(
        type="mmdet.MobileNetV2",
        out_indices=(1, 2, 4, 6),
        init_cfg=dict(
            type="Pretrained", checkpoint="work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors"
        ),
    ),
    decode_head=dict(
        type="mmattn.Mask2FormerDecodeHead",
        in_channels=[24, 32, 96, 320],
        num_classes=11,
        num_queries=30,  # at most 11 masks are in an image
        channels=128,
        encoder_layers=3,
        encoder_ffn_channels=512,
        decoder_layers=3,
        decoder_ffn_channels=512,
        recompute=False,
        loss_cfg=dict(num_points=2048),
    ),
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

max_iters = 800  # about as long as 1000 iterations of CCNet
val_interval = max_iters // 4
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(
    checkpoint=dict(interval=val_interval), visualization=dict(type="SegVisualizationHook")
)
