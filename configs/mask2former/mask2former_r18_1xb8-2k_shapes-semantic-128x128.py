"""Mask2Former, small, on the generated shapes' label maps, to try the whole path on a CPU.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row.

    mmattn data shapes data/shapes --num-train 400 --num-val 80
    mmattn train configs/mask2former/mask2former_r18_1xb8-2k_shapes-semantic-128x128.py
"""

_base_ = [
    "../_base_/models/mask2former_r50_semantic.py",
    "../_base_/datasets/shapes_semantic.py",
    "../_base_/schedules/mask2former_adamw.py",
    "../_base_/default_runtime.py",
]

max_iters = 2000
val_interval = 500
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        depth=18,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            _delete_=True, type="Kaiming", layer="Conv2d", mode="fan_out", nonlinearity="relu"
        ),
    ),
    decode_head=dict(
        in_channels=[64, 128, 256, 512],
        num_classes=10,
        num_queries=20,
        channels=128,
        encoder_layers=3,
        encoder_ffn_channels=512,
        decoder_layers=6,
        decoder_ffn_channels=512,
        loss_cfg=dict(num_points=2048),
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=1.0, decay_mult=1.0)}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type="PolyLR", power=0.9, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=val_interval)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=val_interval, max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
