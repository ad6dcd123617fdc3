"""Mask2Former, Swin-T; Cityscapes, semantic, crops of 512 x 1024, 90,000 iterations on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
82.1 mIoU; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-t_8xb2-90k_cityscapes-semantic.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-t_semantic.py",
    "../_base_/datasets/cityscapes-shortest-edge_512x1024.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_90k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    decode_head=dict(num_classes=19),
)
