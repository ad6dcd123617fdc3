"""Mask2Former, Swin-B; ADE20K, semantic, crops of 640 x 640, 160,000 iterations on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
52.4 mIoU; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-b_8xb2-160k_ade20k-semantic.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-b_semantic.py",
    "../_base_/datasets/ade20k-shortest-edge_640x640.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_160k.py",
    "../_base_/default_runtime.py",
]

pretrained = (
    "https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/"
    "swin_base_patch4_window12_384_20220317-55b0104a.pth"
)
model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(init_cfg=dict(checkpoint=pretrained)),
)
