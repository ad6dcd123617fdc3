"""Mask2Former, Swin-B of 22k; COCO, panoptic, crops of 1024 x 1024, 50 epochs on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
56.4 PQ; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-b-in21k_8xb2-50e_coco-panoptic.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-b.py",
    "../_base_/datasets/coco_panoptic_lsj.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_50e_coco.py",
    "../_base_/detection_runtime_iters.py",
]

pretrained = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_base_patch4_window12_384_22k.pth"
)
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=pretrained)),
)
