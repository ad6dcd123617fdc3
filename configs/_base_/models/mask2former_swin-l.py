"""Mask2Former with a Swin-L of ImageNet-22k, panoptic, for COCO."""

_base_ = ["./mask2former_r50.py"]

pretrained = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_large_patch4_window12_384_22k.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmdet.SwinTransformer",
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        convert_weights=True,
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),
    ),
    panoptic_head=dict(in_channels=[192, 384, 768, 1536]),
)
