"""Mask2Former with a Swin-T of ImageNet-1k, panoptic, for COCO."""

_base_ = ["./mask2former_r50.py"]

pretrained = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_tiny_patch4_window7_224.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmdet.SwinTransformer",
        pretrain_img_size=224,
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        convert_weights=True,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),
    ),
    panoptic_head=dict(in_channels=[96, 192, 384, 768]),
)
