"""ATSS with Dynamic Head on a ResNet-50, as the authors have it, COCO.

Paper: Dai et al., Dynamic Head, CVPR 2021, arXiv:2106.08322. By the authors' README AP 42.4 on
val2017. Not reproduced here: this needs 8 GPUs and the dataset. 38,902,210 parameters.

    bash tools/dist_train.sh configs/dynamic_head/atss_r50_fpn_dyhead_1x_coco.py 8
"""

_base_ = [
    "../_base_/models/atss_dynamic_head.py",
    "mmdet::_base_/datasets/coco_detection.py",
    "../_base_/schedules/detectron2_1x.py",
    "../_base_/detection_runtime.py",
]

train_dataloader = dict(sampler=dict(type="InfiniteSampler"))
log_processor = dict(by_epoch=False)
