"""Mask2Former, Swin-B of 22k; Cityscapes, instance, crops of 512 x 1024, 90,000 iterations, 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
42.0 AP; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-b-in21k_8xb2-90k_cityscapes-instance.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-b.py",
    "../_base_/datasets/cityscapes_instance_512x1024.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_90k_det.py",
    "../_base_/detection_runtime_iters.py",
]

pretrained = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_base_patch4_window12_384_22k.pth"
)
model = dict(
    data_preprocessor=dict(pad_seg=False),
    backbone=dict(init_cfg=dict(checkpoint=pretrained)),
    panoptic_head=dict(num_things_classes=8, num_stuff_classes=0),
    panoptic_fusion_head=dict(num_things_classes=8, num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
