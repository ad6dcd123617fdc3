"""YOLOv12-X, the authors' later release, turbo; COCO, 640 x 640, 600 epochs on 8 GPUs.

Paper: YOLOv12, arXiv:2502.12524. The authors' files have 59,414,176 parameters and 55.4 AP
on val2017, as their README says. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/yolov12/yolov12-x_8xb32-600e_coco.py 8
"""

_base_ = ["../_base_/models/yolov12.py"]

model = dict(
    backbone=dict(scale="x"),
    neck=dict(in_channels=[768, 768, 768], out_channels=[384, 768, 768], num_units=2),
    bbox_head=dict(in_channels=[384, 768, 768]),
)
