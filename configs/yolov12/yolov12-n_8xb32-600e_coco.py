"""YOLOv12-N, the authors' later release, turbo; COCO, 640 x 640, 600 epochs on 8 GPUs.

Paper: YOLOv12, arXiv:2502.12524. The authors' files have 2,553,904 parameters and 40.4 AP
on val2017, as their README says. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/yolov12/yolov12-n_8xb32-600e_coco.py 8
"""

_base_ = [
    "../_base_/models/yolov12.py",
    "../_base_/datasets/coco_yolov12.py",
    "../_base_/schedules/yolov12_600e.py",
    "../_base_/detection_runtime.py",
]

affine = dict(translate=0.1, scale=0.5)
mix_pipeline = [
    dict(type="mmattn.MosaicAffine", scale=(640, 640), affine=affine),
    dict(type="mmattn.FlipCopyPaste", prob=0.1),
]
last_steps = [
    dict(type="mmattn.RareImageChanges", prob=0.01),
    dict(type="mmattn.HSVGain", hue=0.015, saturation=0.7, value=0.4),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "flip", "flip_direction"),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=[*mix_pipeline, *last_steps]))
custom_hooks = [
    dict(
        type="mmattn.LastEpochsPipelineHook",
        last_epochs=10,
        pipeline=[
            dict(type="mmattn.MosaicAffine", scale=(640, 640), affine=affine, prob=0.0),
            *last_steps,
        ],
    ),
]
