"""Mask2Former with a ResNet-50, panoptic, for COCO's 80 things and 53 stuff classes.

Instances alone: num_stuff_classes=0 in both heads, and test_cfg=dict(panoptic_on=False,
instance_on=True).
"""

num_things_classes = 80
num_stuff_classes = 53
model = dict(
    type="mmattn.Mask2Former",
    data_preprocessor=dict(
        type="mmdet.DetDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        mask_pad_value=0,
        pad_seg=True,
        seg_pad_value=255,
    ),
    backbone=dict(
        type="mmdet.ResNet",
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    panoptic_head=dict(
        type="mmattn.Mask2FormerHead",
        in_channels=[256, 512, 1024, 2048],
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
        num_queries=100,
    ),
    panoptic_fusion_head=dict(
        type="mmattn.Mask2FormerFusionHead",
        num_things_classes=num_things_classes,
        num_stuff_classes=num_stuff_classes,
    ),
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=False, max_per_image=100),
)
