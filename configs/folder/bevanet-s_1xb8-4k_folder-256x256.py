"""BEVANet-S from scratch on a folder of your own: crops of 256 x 256, 4000 steps.

Paper: BEVANet, ICIP 2025, arXiv:2508.07300; its losses, at the size of small images.
docs/train_on_your_data.md tells what your folder may look like and what to change.

    mmattn train configs/folder/bevanet-s_1xb8-4k_folder-256x256.py data=my_images
"""

_base_ = [
    "../_base_/models/bevanet.py",
    "../_base_/datasets/folder_512x512.py",
    "../_base_/default_runtime.py",
]

crop_size = (256, 256)
max_iters = 4000
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(channels=32, num_blocks=(2, 2, 3)),
    decode_head=dict(in_channels=128, num_classes="auto"),
)

train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="mmattn.LoadFolderMask"),
    dict(type="mmattn.GenerateEdgeMap", border=0),
    dict(type="RandomResize", scale=(1024, 256), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=(1024, 256), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="mmattn.LoadFolderMask"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005),
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
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="CheckpointHook",
        by_epoch=False,
        interval=max_iters // 10,
        max_keep_ckpts=1,
        save_best="mIoU",
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
