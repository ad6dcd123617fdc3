"""Semantic FPN on a host of token mixers, micro, with InLine attention, ADE20K.

Paper of the host: Hu et al., TPAMI 2025, arXiv:2211.05781; it has no such row. Exchange
``token_mixer`` for any block that keeps the shape. Not reproduced here: this needs 4 GPUs, the
dataset, and weights of ImageNet, which nobody has published for this mixer.

    bash tools/dist_train.sh \
        configs/token_mixer_host/fpn_host-micro-inline_4xb4-160k_ade20k-512x512.py 4
"""

_base_ = ["mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py"]

model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type="mmattn.TokenMixerHost",
        token_mixer=dict(type="mmattn.InLineAttention"),
        scale="micro",
    ),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=2e-4, weight_decay=0.05))
