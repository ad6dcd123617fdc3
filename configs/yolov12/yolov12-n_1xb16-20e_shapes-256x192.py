"""YOLOv12-N on the generated shapes, to try the whole path within minutes on a CPU.

mmattn data shapes data/shapes --num-train 400 --num-val 80
mmattn train configs/yolov12/yolov12-n_1xb16-20e_shapes-256x192.py
"""

_base_ = [
    "../_base_/models/yolov12.py",
    "../_base_/datasets/shapes_detection.py",
    "../_base_/schedules/yolov12_600e.py",
    "../_base_/detection_runtime.py",
]

model = dict(bbox_head=dict(num_classes=6))

image_size = (192, 256)  # height, width; ``image_size=240,320`` sets all pipelines

mix_pipeline = [
    dict(type="mmattn.MosaicAffine", scale=(256, 192), affine=dict(translate=0.1, scale=0.5)),
]
last_steps = [
    dict(type="mmattn.HSVGain"),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "flip", "flip_direction"),
    ),
]
train_dataloader = dict(
    _delete_=True,
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmattn.MultiImageMixDataset",
        dataset=dict(
            type="CocoDataset",
            data_root="data/shapes/",
            metainfo={{_base_.metainfo}},
            ann_file="annotations/instances_train.json",
            data_prefix=dict(img="images/train/"),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True),
            ],
        ),
        pipeline=[*mix_pipeline, *last_steps],
    ),
)
# SGD from random weights needs thousands of steps; AdamW learns these few images sooner.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.002, weight_decay=0.0005),
)
param_scheduler = [
    dict(
        type="mmattn.LinearWithWarmup",
        param_name="lr",
        warmup=1,
        end_factor=0.01,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=20, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5), logger=dict(interval=5))
custom_hooks = [
    dict(
        type="mmattn.LastEpochsPipelineHook",
        last_epochs=2,
        pipeline=[
            dict(
                type="mmattn.MosaicAffine",
                scale=(256, 192),
                affine=dict(translate=0.1, scale=0.5),
                prob=0.0,
            ),
            *last_steps,
        ],
    ),
]
