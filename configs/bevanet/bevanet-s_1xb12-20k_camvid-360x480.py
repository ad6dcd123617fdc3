"""BEVANet-S from scratch, CamVid, images of 360 x 480, 20 000 iterations on one GPU.

Paper: BEVANet, ICIP 2025, arXiv:2508.07300. It has no row at this size.
Losses and augmentation are the authors'. Not reproduced here: this needs a GPU and the dataset.

    mmattn train configs/bevanet/bevanet-s_1xb12-20k_camvid-360x480.py
"""

_base_ = [
    "../_base_/models/bevanet.py",
    "../_base_/datasets/camvid-edges_360x480.py",
    "../_base_/default_runtime.py",
]

max_iters = 20_000  # 645 epochs of 367 images
model = dict(
    data_preprocessor=dict(size=(360, 480)),
    backbone=dict(channels=32, num_blocks=(2, 2, 3)),
    decode_head=dict(in_channels=128, num_classes=11),
)
train_dataloader = dict(batch_size=12, num_workers=8)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    # mmengine is at eta_min one step before the end: lr (1 - i / max_iters)^0.9 at iteration i.
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters // 20)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max_iters // 20),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
randomness = dict(seed=304)
