"""Mask R-CNN on MobileNetV2 with ImageNet weights, nuclei of the Data Science Bowl 2018, on a CPU.

A light Mask R-CNN (arXiv:1703.06870) on an FPN of 128 channels, strides 4 to 64: what Mask2Former
is compared with, on the same images (docs/results/nuclei). The weights are those of
configs/mask2former/mask2former_mobilenetv2_1xb2-2k_nuclei-instance-192x192.py.

    mmattn train configs/comparison/mask-rcnn_mobilenetv2-fpn_1xb2-400_nuclei-192x192.py
"""

_base_ = [
    "../_base_/models/rcnn_mobilenetv2_small.py",
    "../_base_/datasets/nuclei_instance_192x192.py",
    "../_base_/detection_runtime_iters.py",
]

channels = 128
num_classes = 1
strides = [4, 8, 16, 32]
model = dict(
    type="MaskRCNN",
    data_preprocessor=dict(pad_mask=True),
    backbone=dict(type="mmdet.MobileNetV2", out_indices=(1, 2, 4, 6)),
    neck=dict(type="FPN", in_channels=[24, 32, 96, 320], out_channels=channels, num_outs=5),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        # From 12 pixels: half of the nuclei are narrower than 17 at this size.
        anchor_generator=dict(scales=[3], strides=[*strides, 64]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels, featmap_strides=strides),
        bbox_head=dict(in_channels=channels, num_classes=num_classes),
        mask_roi_extractor=dict(
            type="SingleRoIExtractor",
            roi_layer=dict(type="RoIAlign", output_size=14, sampling_ratio=2),
            out_channels=channels,
            featmap_strides=strides,
        ),
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=2,
            in_channels=channels,
            conv_out_channels=channels,
            num_classes=num_classes,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=True), mask_size=28)),
    test_cfg=dict(rpn=dict(max_per_img=500), rcnn=dict(max_per_img=120, mask_thr_binary=0.5)),
)

max_iters = 400
val_interval = max_iters
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=5e-4, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.3)}, norm_decay_mult=0.0),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=val_interval)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=val_interval // 2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
)
