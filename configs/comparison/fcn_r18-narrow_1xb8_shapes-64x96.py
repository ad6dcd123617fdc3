"""Two stages of a narrow ResNet-18 and an FCN head on small generated shapes: seconds of training.

A test bench for comparisons themselves: so cheap that a host can be trained a hundred times. The
metric's spread between seeds is large, since the training is short. Measured here: how often two
trainings of the same network are called different (docs/results/compare_error_rate).

    mmattn data shapes data/shapes_small --num-train 160 --num-val 80 --size 64 96 --colour-hint 1
    OMP_NUM_THREADS=1 mmattn compare configs/comparison/fcn_r18-narrow_1xb8_shapes-64x96.py \
        --error-rate --seeds 3 --pairs 20 --budget 80it
"""

_base_ = ["../_base_/datasets/shapes_semantic.py", "../_base_/default_runtime.py"]

data_root = "data/shapes_small"
crop_size = (64, 96)
max_iters = 80
norm_cfg = dict(type="BN", requires_grad=True)

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
        type="ResNetV1c",
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=2,
        strides=(1, 1),
        dilations=(1, 2),
        out_indices=(0, 1),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="FCNHead",
        in_channels=32,
        in_index=1,
        channels=32,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=10,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    **loader, batch_size=8, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(
    **loader, batch_size=16, dataset=dict(data_root=data_root, pipeline=test_pipeline)
)
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.01), clip_grad=None
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=8, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=8, end=max_iters, by_epoch=False),
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
