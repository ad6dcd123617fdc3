"""Mask2Former, ResNet-101; Cityscapes, instance, crops of 512 x 1024, 90,000 iterations on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
38.5 AP; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_r101_8xb2-90k_cityscapes-instance.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_r50.py",
    "../_base_/datasets/cityscapes_instance_512x1024.py",
    "../_base_/schedules/mask2former_adamw_bn.py",
    "../_base_/schedules/mask2former_90k_det.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    data_preprocessor=dict(pad_seg=False),
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint="torchvision://resnet101"),
        norm_cfg=dict(type="SyncBN", requires_grad=True),
        norm_eval=False,
    ),
    panoptic_head=dict(num_things_classes=8, num_stuff_classes=0),
    panoptic_fusion_head=dict(num_things_classes=8, num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
