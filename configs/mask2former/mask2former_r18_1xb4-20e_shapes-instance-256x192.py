"""Mask2Former, small, on the generated shapes' objects, to try the whole path on a CPU.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row.

    mmattn data shapes data/shapes --num-train 400 --num-val 80
    mmattn train configs/mask2former/mask2former_r18_1xb4-20e_shapes-instance-256x192.py
"""

_base_ = [
    "../_base_/models/mask2former_r18_small.py",
    "../_base_/datasets/shapes_instance.py",
    "../_base_/schedules/mask2former_20e_small.py",
    "../_base_/detection_runtime.py",
]

num_stuff_classes = 0
model = dict(
    data_preprocessor=dict(pad_seg=False),
    panoptic_head=dict(num_stuff_classes=num_stuff_classes),
    panoptic_fusion_head=dict(num_stuff_classes=num_stuff_classes),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
