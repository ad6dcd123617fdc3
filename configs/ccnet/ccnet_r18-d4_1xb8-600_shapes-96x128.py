"""CCNet, small enough to learn the generated shapes on two CPU cores; ``make demo`` runs it.

Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721, has no such row: the first two
stages of a narrow ResNet-18, at stride 4, under the paper's head.

    mmattn data shapes work_dirs/demo/shapes --num-train 600 --num-val 60 --size 96 128
    mmattn train configs/ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py
"""

_base_ = ["../_base_/datasets/shapes_semantic.py", "../_base_/default_runtime.py"]

data_root = "work_dirs/demo/shapes"
max_iters = 600
val_interval = 120
norm_cfg = dict(type="BN")
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(96, 128),
        seg_pad_val=255,
    ),
    backbone=dict(
        type="ResNetV1c",
        depth=18,
        base_channels=16,
        stem_channels=16,
        num_stages=2,
        out_indices=(0, 1),
        strides=(1, 1),
        dilations=(1, 2),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="mmattn.CCHead",
        in_channels=32,
        in_index=1,
        channels=32,
        num_classes=10,
        norm_cfg=norm_cfg,
        align_corners=False,
        # Shapes cover a sixth of the pixels.
        loss_decode=dict(type="CrossEntropyLoss", class_weight=[4.0] * 6 + [1.0] * 4),
    ),
    test_cfg=dict(mode="whole"),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=8, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=5e-3, weight_decay=0.01))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=val_interval)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    # At each validation: whoever stops early has something to test.
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=val_interval, max_keep_ckpts=1),
)
