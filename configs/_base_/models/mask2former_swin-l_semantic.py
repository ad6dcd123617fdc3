"""Mask2Former with a Swin-L of ImageNet-22k, semantic, for ADE20K."""

_base_ = ["./mask2former_r50_semantic.py"]

pretrained = (
    "https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/"
    "swin_large_patch4_window12_384_22k_20220412-6580f57d.pth"
)
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmseg.SwinTransformer",
        pretrain_img_size=384,
        embed_dims=192,
        depths=[2, 2, 18, 2],
        num_heads=[6, 12, 24, 48],
        window_size=12,
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint=pretrained),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
)
