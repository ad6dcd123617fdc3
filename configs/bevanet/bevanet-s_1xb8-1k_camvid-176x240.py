"""BEVANet-S from scratch on CamVid in crops of 176 x 240: small enough for a CPU.

Paper: BEVANet, ICIP 2025, arXiv:2508.07300. It has no row at this size.
The losses are the authors'. To train, images are scaled by 0.5 to 1.1 and cropped.

    mmattn train configs/bevanet/bevanet-s_1xb8-1k_camvid-176x240.py
"""

_base_ = [
    "../_base_/models/bevanet.py",
    "../_base_/datasets/camvid-edges_360x480.py",
    "../_base_/default_runtime.py",
]

max_iters = 1000  # 22 epochs of 367 images
crop_size = (176, 240)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(channels=32, num_blocks=(2, 2, 3)),
    decode_head=dict(in_channels=128, num_classes=11),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="mmattn.GenerateEdgeMap", border=0),
    dict(type="RandomResize", scale=(480, 360), ratio_range=(0.5, 1.1), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    # mmengine is at eta_min one step before the end: lr (1 - i / max_iters)^0.9 at iteration i.
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False),
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
randomness = dict(seed=304)
