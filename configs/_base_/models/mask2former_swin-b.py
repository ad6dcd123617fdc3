"""Mask2Former with a Swin-B of ImageNet-1k, panoptic, for COCO."""

_base_ = ["./mask2former_r50.py"]

pretrained = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_base_patch4_window12_384.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmdet.SwinTransformer",
        pretrain_img_size=384,
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        convert_weights=True,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),
    ),
    panoptic_head=dict(in_channels=[128, 256, 512, 1024]),
)
