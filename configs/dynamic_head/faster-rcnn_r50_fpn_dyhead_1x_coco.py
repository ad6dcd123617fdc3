"""Faster R-CNN with Dynamic Head on a ResNet-50, as the authors have it, COCO.

Paper: Dai et al., Dynamic Head, CVPR 2021, arXiv:2106.08322. By the authors' README AP 40.3 on
val2017. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/dynamic_head/faster-rcnn_r50_fpn_dyhead_1x_coco.py 8
"""

_base_ = [
    "mmdet::_base_/models/faster-rcnn_r50_fpn.py",
    "mmdet::_base_/datasets/coco_detection.py",
    "../_base_/schedules/detectron2_1x.py",
    "../_base_/detection_runtime.py",
]

model = dict(
    data_preprocessor=dict(
        mean=[103.530, 116.280, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False, pad_size_divisor=64
    ),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=False),
        style="caffe",
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://detectron2/resnet50_caffe"),
    ),
    neck=[
        dict(type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
        dict(
            type="mmattn.DynamicHead",
            in_channels=256,
            out_channels=256,
            bias=True,
            init="official",
        ),
    ],
)
train_dataloader = dict(sampler=dict(type="InfiniteSampler"))
optim_wrapper = dict(optimizer=dict(lr=0.02))
log_processor = dict(by_epoch=False)
