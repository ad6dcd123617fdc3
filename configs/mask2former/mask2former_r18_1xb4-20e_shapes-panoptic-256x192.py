"""Mask2Former, small, on the generated shapes and what they lie on: panoptic, on a CPU.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row.

    mmattn data shapes data/shapes --num-train 400 --num-val 80
    mmattn train configs/mask2former/mask2former_r18_1xb4-20e_shapes-panoptic-256x192.py
"""

_base_ = [
    "../_base_/models/mask2former_r18_small.py",
    "../_base_/datasets/shapes_panoptic.py",
    "../_base_/schedules/mask2former_20e_small.py",
    "../_base_/detection_runtime.py",
]

model = dict(test_cfg=dict(instance_on=False))
