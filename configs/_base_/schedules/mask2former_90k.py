"""90,000 iterations in batches of 16, polynomial decay without a warm-up, for mmseg."""

param_scheduler = [dict(type="PolyLR", eta_min=0.0, power=0.9, begin=0, end=90_000, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=90_000, val_interval=5000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=5000, max_keep_ckpts=3),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
