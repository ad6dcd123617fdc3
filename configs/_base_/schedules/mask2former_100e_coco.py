"""100 epochs of COCO in batches of 16, the rate a tenth after 0.889 and 0.963 of them.

The paper says 0.9 and 0.95; these are the authors' configs.
"""

param_scheduler = dict(
    type="MultiStepLR",
    begin=0,
    end=737500,
    by_epoch=False,
    milestones=[655556, 710184],
    gamma=0.1,
)
# Every 5000 iterations, and the last time at the end.
train_cfg = dict(
    type="IterBasedTrainLoop",
    max_iters=737500,
    val_interval=5000,
    dynamic_intervals=[(735001, 737500)],
)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=5000, max_keep_ckpts=3),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
