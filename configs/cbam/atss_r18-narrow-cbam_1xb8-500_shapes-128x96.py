"""A small ATSS whose narrow ResNet-18 has CBAM after each stage; ``make demo`` runs it.

CBAM: Woo et al., ECCV 2018, arXiv:1807.06521; ATSS: Zhang et al., CVPR 2020, arXiv:1912.02424.
Neither paper has such a row, so nothing of them is reproduced: three stages of 16 to 64 channels
from random weights, which learn the generated shapes in two minutes of a core. CBAM is in its
identity form (docs/plugins.md).

    mmattn data shapes work_dirs/demo/shapes --num-train 600 --num-val 60 --size 96 128
    mmattn train configs/cbam/atss_r18-narrow-cbam_1xb8-500_shapes-128x96.py
"""

_base_ = [
    "../_base_/models/atss_r18_narrow.py",
    "../_base_/datasets/shapes_detection.py",
    "../_base_/detection_runtime_iters.py",
]

data_root = "work_dirs/demo/shapes/"
scale = (128, 96)
max_iters = 500
val_interval = 125
plugins = [dict(cfg=dict(type="mmattn.CBAM", init="identity"), stages=(0, 1, 2))]
model = dict(backbone=dict(plugins=plugins))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
# The images are small: the base leaves out those below 32 pixels.
train_dataset = dict(data_root=data_root, filter_cfg=dict(min_size=16), pipeline=train_pipeline)
train_dataloader = dict(batch_size=8, sampler=dict(type="InfiniteSampler"), dataset=train_dataset)
val_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "annotations/instances_val.json")
test_evaluator = val_evaluator

optimizer = dict(type="AdamW", lr=4e-3, weight_decay=0.01)
optim_wrapper = dict(type="OptimWrapper", optimizer=optimizer, clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.05, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=val_interval)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=25, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=val_interval, max_keep_ckpts=1),
)
