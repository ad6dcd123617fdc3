"""Mask2Former on the first eight panoptic maps of a folder, which are its validation set too.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row. A proof, not a training: a
network, loss and results that fit together learn eight images by heart, without augmentation, on a
CPU. Measured: docs/results/mask2former_by_heart; nothing of the paper is reproduced.

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors \
        --converter torchvision-mobilenetv2-mmdet
    mmattn train \
        configs/mask2former/mask2former_mobilenetv2_1xb2-500_eight-images-panoptic-256x192.py \
        data_root=my_maps
"""

_base_ = [
    "../_base_/models/mask2former_mobilenetv2_small.py",
    "../_base_/datasets/eight_panoptic.py",
    "../_base_/schedules/mask2former_500i_small.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    panoptic_head=dict(num_things_classes="auto", num_stuff_classes="auto", num_queries=40),
    panoptic_fusion_head=dict(num_things_classes="auto", num_stuff_classes="auto"),
    test_cfg=dict(instance_on=False),
)
