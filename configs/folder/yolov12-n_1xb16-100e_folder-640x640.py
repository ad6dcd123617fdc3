"""YOLOv12-N on a folder of your own boxes: 640 x 640, 100 epochs.

YOLOv12, arXiv:2502.12524. docs/train_a_detector.md tells what your folder may look like.

    mmattn train configs/folder/yolov12-n_1xb16-100e_folder-640x640.py data=my_boxes

It starts from random weights; ``load_from=yolov12n.safetensors``, converted by
``mmattn convert``, starts from those of COCO, and small datasets need them.
``image_size=480,640`` (height, width) trains, validates and tests at another size.
"""

_base_ = [
    "../_base_/models/yolov12.py",
    "../_base_/datasets/folder_boxes.py",
    "../_base_/schedules/yolov12_600e.py",
    "../_base_/detection_runtime.py",
]

model = dict(bbox_head=dict(num_classes="auto"))

affine = dict(translate=0.1, scale=0.5)
last_steps = [
    dict(type="mmattn.HSVGain"),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "flip", "flip_direction"),
    ),
]
mix = dict(type="mmattn.MosaicAffine", scale={{_base_.scale}}, affine=affine)
train_dataloader = dict(dataset=dict(pipeline=[mix, *last_steps]))
custom_hooks = [
    dict(
        type="mmattn.LastEpochsPipelineHook",
        last_epochs=10,
        pipeline=[mix | dict(prob=0.0), *last_steps],
    ),
]

# Some thousand steps are few for SGD.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=0.002, weight_decay=0.0005),
)
param_scheduler = [
    dict(
        type="mmattn.LinearWithWarmup",
        param_name="lr",
        warmup=3,
        end_factor=0.01,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=100, val_interval=10)
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(save_best="coco/bbox_mAP", max_keep_ckpts=1)
)
