"""Mask2Former with a Swin-B of ImageNet-22k, semantic, for ADE20K."""

_base_ = ["./mask2former_r50_semantic.py"]

pretrained = (
    "https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/"
    "swin_base_patch4_window12_384_22k_20220317-e5c09f74.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmseg.SwinTransformer",
        pretrain_img_size=384,
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
)
