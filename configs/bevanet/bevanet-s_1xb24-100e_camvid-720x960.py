"""BEVANet-S, CamVid, images of 720 x 960, 100 epochs on one GPU, the authors' recipe.

Paper: BEVANet, ICIP 2025, arXiv:2508.07300. It gives 83.1 mIoU, from Cityscapes weights;
its split is not published (its relatives train on train and val and test on test).
Here: train on train, test on val. Not reproduced here: this needs a GPU and the images.

    mmattn train configs/bevanet/bevanet-s_1xb24-100e_camvid-720x960.py
"""

_base_ = [
    "../_base_/models/bevanet.py",
    "../_base_/datasets/camvid-edges_720x960.py",
    "../_base_/default_runtime.py",
]

max_iters = 1500  # 100 epochs of 367 images, 24 at a time
model = dict(
    data_preprocessor=dict(size=(720, 960)),
    backbone=dict(channels=32, num_blocks=(2, 2, 3)),
    decode_head=dict(in_channels=128, num_classes=11),
)
train_dataloader = dict(batch_size=24, num_workers=8)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.0038, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    # mmengine is at eta_min one step before the end: lr (1 - i / max_iters)^0.9 at iteration i.
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters // 10)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max_iters // 10),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
randomness = dict(seed=304)
