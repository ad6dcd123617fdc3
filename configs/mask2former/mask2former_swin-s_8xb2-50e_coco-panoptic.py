"""Mask2Former, Swin-S; COCO, panoptic, crops of 1024 x 1024, 50 epochs on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
54.6 PQ; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-s_8xb2-50e_coco-panoptic.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-s.py",
    "../_base_/datasets/coco_panoptic_lsj.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_50e_coco.py",
    "../_base_/detection_runtime_iters.py",
]
