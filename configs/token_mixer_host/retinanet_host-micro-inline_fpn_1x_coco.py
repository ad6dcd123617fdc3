"""RetinaNet on a host of token mixers, micro, with InLine attention, COCO.

Paper of the host: Hu et al., TPAMI 2025, arXiv:2211.05781; it has no such row. Exchange
``token_mixer`` for any block that keeps the shape. Not reproduced here: this needs 8 GPUs, the
dataset, and weights of ImageNet, which nobody has published for this mixer.

    bash tools/dist_train.sh configs/token_mixer_host/retinanet_host-micro-inline_fpn_1x_coco.py 8
"""

_base_ = ["mmdet::retinanet/retinanet_r50_fpn_1x_coco.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmattn.TokenMixerHost",
        token_mixer=dict(type="mmattn.InLineAttention"),
        scale="micro",
    ),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=1e-4, weight_decay=0.05))
