"""Mask R-CNN with a NAT-Mini, COCO.

Paper: Hassani et al., Neighborhood Attention Transformer, CVPR 2023, arXiv:2204.07143. By the
authors' README box AP and mask AP 46.5 and 41.7. Not reproduced here: this needs 8 GPUs, the
dataset and their weights of ImageNet:

    bash tools/dist_train.sh configs/nat/mask-rcnn_nat-m_fpn_ms-crop-3x_coco.py 8 \
        --cfg-options model.backbone.init_cfg.type=Pretrained \
        model.backbone.init_cfg.checkpoint=FILE
"""

_base_ = ["mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_ms-crop-3x_coco.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmattn.NAT",
        channels=64,
        depths=(3, 4, 6, 5),
        num_heads=(2, 4, 8, 16),
        mlp_ratio=3,
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(rpb=dict(decay_mult=0.0))))
