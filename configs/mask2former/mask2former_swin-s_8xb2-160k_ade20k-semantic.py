"""Mask2Former, Swin-S; ADE20K, semantic, crops of 512 x 512, 160,000 iterations on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
51.3 mIoU; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-s_8xb2-160k_ade20k-semantic.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-s_semantic.py",
    "../_base_/datasets/ade20k-shortest-edge_512x512.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_160k.py",
    "../_base_/default_runtime.py",
]
