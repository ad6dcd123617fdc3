"""Mask2Former with a Swin-T of ImageNet-1k, semantic, for ADE20K."""

_base_ = ["./mask2former_r50_semantic.py"]

pretrained = (
    "https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/"
    "swin_tiny_patch4_window7_224_20220317-1cdeb081.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmseg.SwinTransformer",
        pretrain_img_size=224,
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
)
