"""ATSS with Dynamic Head on a Swin-T, as the authors have it, COCO.

Paper: Dai et al., Dynamic Head, CVPR 2021, arXiv:2106.08322. By the authors' README AP 49.8 on
val2017. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/dynamic_head/atss_swin-t_fpn_dyhead_ms-2x_coco.py 8
"""

_base_ = ["atss_r50_fpn_dyhead_1x_coco.py"]

weights = (
    "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
    "swin_tiny_patch4_window7_224.pth"
)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",  # whose defaults are Swin-T's
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
        convert_weights=True,
        init_cfg=dict(type="Pretrained", checkpoint=weights),
    ),
    neck=[
        dict(
            type="FPN",
            in_channels=[192, 384, 768],
            out_channels=256,
            add_extra_convs="on_output",
            relu_before_extra_convs=True,
            num_outs=5,
        ),
        dict(
            type="mmattn.DynamicHead", in_channels=256, out_channels=256, bias=True, init="official"
        ),
    ],
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="RandomChoiceResize",
        scales=[(1333, side) for side in (640, 672, 704, 736, 768, 800)],
        keep_ratio=True,
    ),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
# 90 000 iterations of 32 images
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=0.0001, weight_decay=0.05))
auto_scale_lr = dict(base_batch_size=32)
