"""YOLOv12-L, the version of the paper, v1.0; COCO, 640 x 640, 600 epochs on 8 GPUs.

Paper: YOLOv12, arXiv:2502.12524. The authors' files have 26,450,784 parameters and 53.7 AP
on val2017, as their README says. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/yolov12/yolov12-v1-l_8xb32-600e_coco.py 8
"""

_base_ = "./yolov12-l_8xb32-600e_coco.py"

model = dict(backbone=dict(version="v1.0"))
