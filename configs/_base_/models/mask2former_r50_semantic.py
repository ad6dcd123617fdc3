"""Mask2Former with a ResNet-50 for semantic segmentation, for ADE20K's 150 classes."""

model = dict(
    type="mmattn.EncoderDecoder",
    data_preprocessor=dict(
        type="mmseg.SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        test_cfg=dict(size_divisor=32),
    ),
    backbone=dict(
        type="mmseg.ResNet",
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        style="pytorch",
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    decode_head=dict(
        type="mmattn.Mask2FormerDecodeHead",
        in_channels=[256, 512, 1024, 2048],
        num_classes=150,
        num_queries=100,
    ),
    test_cfg=dict(mode="whole"),
)
