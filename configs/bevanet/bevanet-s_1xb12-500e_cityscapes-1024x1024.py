"""BEVANet-S, Cityscapes, crops of 1024 x 1024, 500 epochs on one GPU, the authors' recipe.

Paper: BEVANet, ICIP 2025, arXiv:2508.07300. It gives 78.2 mIoU on val with
ImageNet weights (its table, single scale).
Not reproduced here: this needs a GPU and the dataset.

    mmattn train configs/bevanet/bevanet-s_1xb12-500e_cityscapes-1024x1024.py
"""

_base_ = [
    "../_base_/models/bevanet.py",
    "../_base_/datasets/cityscapes-edges_1024x1024.py",
    "../_base_/default_runtime.py",
]

max_iters = 123_500  # 500 epochs of 2975 images, 12 at a time
class_weight = [
    *(0.8373, 0.9180, 0.8660, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023),
    *(0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507),
]
model = dict(
    data_preprocessor=dict(size=(1024, 1024)),
    backbone=dict(channels=32, num_blocks=(2, 2, 3)),
    decode_head=dict(in_channels=128, class_weight=class_weight),
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
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters // 25)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max_iters // 25),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
randomness = dict(seed=304)
