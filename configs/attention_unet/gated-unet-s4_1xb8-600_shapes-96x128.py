"""A narrow Attention U-Net on the generated shapes.

Oktay et al., Attention U-Net, MIDL 2018, arXiv:1804.03999: volumes of computed tomography there,
whose results are not reproduced; images here, four levels from 16 to 128 channels.

    mmattn data shapes work_dirs/demo/shapes --num-train 600 --num-val 60 --size 96 128
    mmattn train configs/attention_unet/gated-unet-s4_1xb8-600_shapes-96x128.py
"""

_base_ = [
    "mmseg::_base_/models/fcn_unet_s5-d16.py",
    "../_base_/datasets/shapes_semantic.py",
    "../_base_/default_runtime.py",
]

data_root = "work_dirs/demo/shapes"
norm_cfg = dict(type="BN")
model = dict(
    data_preprocessor=dict(size=(96, 128)),
    backbone=dict(
        type="mmattn.GatedUNet",
        base_channels=16,
        num_stages=4,
        strides=(1, 1, 1, 1),
        enc_num_convs=(2, 2, 2, 2),
        dec_num_convs=(2, 2, 2),
        downsamples=(True, True, True),
        enc_dilations=(1, 1, 1, 1),
        dec_dilations=(1, 1, 1),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        in_channels=16,
        in_index=3,
        channels=16,
        num_classes=10,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=[4.0] * 6 + [1.0] * 4),
    ),
    auxiliary_head=dict(in_channels=32, in_index=2, channels=16, num_classes=10, norm_cfg=norm_cfg),
    test_cfg=dict(_delete_=True, mode="whole"),
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
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=600, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=600, val_interval=120)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=120, max_keep_ckpts=1),
)
