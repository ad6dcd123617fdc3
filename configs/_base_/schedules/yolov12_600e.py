"""YOLOv12 for 600 epochs: SGD, linear decay per epoch after 3 epochs of warm-up, averaged weights.

Everything but ``train_cfg.max_epochs`` follows from it: a config on top that changes that number
alone has the whole schedule in fewer epochs. For other batches than the 256 images of the paper
nothing is to be changed either; the loss grows with the batch (TaskAlignedLoss), and so does the
weight decay. The last epochs without mosaics are in the pipeline's config, which adds
    dict(type="mmattn.LastEpochsPipelineHook", last_epochs=10, pipeline=...)
With k accumulated batches, give ``default_hooks.ema.interval=k``, and multiply box_gain, cls_gain
and dfl_gain of ``model.bbox_head.loss_cfg`` (7.5, 0.5, 1.5) by k: mmengine takes the mean of their
gradients, where one batch of as many images has the sum.
"""

optim_wrapper = dict(
    type="OptimWrapper",
    # Weight decay for all but normalisations and biases, in three groups instead of hundreds.
    constructor="mmattn.GroupedOptimWrapperConstructor",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.937, weight_decay=0.0005, nesterov=True),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(
        type="mmattn.LinearWithWarmup",
        param_name="lr",
        warmup=3,
        start=0.0,
        bias_start=0.0,  # 0.1 in Ultralytics' trainings
        end_factor=0.01,
        convert_to_iter_based=True,
    ),
    dict(
        type="mmattn.LinearWithWarmup",
        param_name="momentum",
        warmup=3,
        start=0.8,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=600, val_interval=10)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=10, max_keep_ckpts=3),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="DetVisualizationHook"),
    weight_decay=dict(type="mmattn.ScaleWeightDecayHook", nominal_batch_size=64),
    # After t steps the average keeps the share 0.9999 (1 - exp(-t / 2000)) of itself.
    ema=dict(
        type="EMAHook",
        ema_type="mmattn.RampedEMA",
        decay=0.9999,
        ramp=2000,
    ),
)
