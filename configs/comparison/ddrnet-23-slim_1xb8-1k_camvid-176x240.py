"""DDRNet-23-slim beside BEVANet-S: the same images, order, crops, optimiser and schedule.

Paper: DDRNet, arXiv:2101.06085; network and losses as in mmseg, from scratch. It has no boundary
branch: the edge maps are loaded, so that random numbers fall alike, and not used.

    mmattn train configs/comparison/ddrnet-23-slim_1xb8-1k_camvid-176x240.py
"""

_base_ = ["../bevanet/bevanet-s_1xb8-1k_camvid-176x240.py"]

norm_cfg = dict(type="BN", requires_grad=True)
ohem = dict(type="OhemCrossEntropy", thres=0.9, min_kept=131072)
model = dict(
    backbone=dict(
        _delete_=True,
        type="DDRNet",
        channels=32,
        ppm_channels=128,
        norm_cfg=norm_cfg,
        align_corners=False,
    ),
    decode_head=dict(
        _delete_=True,
        type="DDRHead",
        in_channels=128,
        channels=64,
        dropout_ratio=0.0,
        num_classes=11,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=[dict(loss_weight=1.0, **ohem), dict(loss_weight=0.4, **ohem)],
    ),
)
