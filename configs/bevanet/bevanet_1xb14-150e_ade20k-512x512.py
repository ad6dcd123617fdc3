"""BEVANet, ADE20K, crops of 512 x 512, 150 epochs on one GPU, the authors' recipe.

Paper: BEVANet, ICIP 2025, arXiv:2508.07300. It gives 39.8 mIoU, measured on random crops
of 512 x 512; the test here is the usual one of whole images, so the two do not compare.
Not reproduced here: this needs a GPU and the dataset.

    mmattn train configs/bevanet/bevanet_1xb14-150e_ade20k-512x512.py
"""

_base_ = [
    "../_base_/models/bevanet.py",
    "../_base_/datasets/ade20k-edges_512x512.py",
    "../_base_/default_runtime.py",
]

max_iters = 216_450  # 150 epochs of 20210 images, 14 at a time
model = dict(data_preprocessor=dict(size=(512, 512)), decode_head=dict(num_classes=150))
train_dataloader = dict(batch_size=14, num_workers=8)

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.0015, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    # mmengine is at eta_min one step before the end: lr (1 - i / max_iters)^0.9 at iteration i.
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=max_iters // 15)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=max_iters // 15),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
randomness = dict(seed=304)
