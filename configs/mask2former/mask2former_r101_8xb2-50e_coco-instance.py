"""Mask2Former, ResNet-101; COCO, instance, crops of 1024 x 1024, 50 epochs on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
44.2 AP; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_r101_8xb2-50e_coco-instance.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_r50.py",
    "../_base_/datasets/coco_instance_lsj.py",
    "../_base_/schedules/mask2former_adamw.py",
    "../_base_/schedules/mask2former_50e_coco.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    data_preprocessor=dict(pad_seg=False),
    backbone=dict(depth=101, init_cfg=dict(checkpoint="torchvision://resnet101")),
    panoptic_head=dict(num_stuff_classes=0),
    panoptic_fusion_head=dict(num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
