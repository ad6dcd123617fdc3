"""PIDNet-S beside BEVANet-S: the same images, order, crops, optimiser, schedule and losses.

Paper: PIDNet, CVPR 2023, arXiv:2206.02066; network and loss weights as in mmseg, from scratch.
BEVANet takes its four losses from here, so the edge maps are used too.

    mmattn train configs/comparison/pidnet-s_1xb8-1k_camvid-176x240.py
"""

_base_ = ["../bevanet/bevanet-s_1xb8-1k_camvid-176x240.py"]

norm_cfg = dict(type="BN", requires_grad=True)
ohem = dict(type="OhemCrossEntropy", thres=0.9, min_kept=131072, loss_weight=1.0)
model = dict(
    backbone=dict(
        _delete_=True,
        type="PIDNet",
        channels=32,
        ppm_channels=96,
        num_stem_blocks=2,
        num_branch_blocks=3,
        align_corners=False,
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        _delete_=True,
        type="PIDHead",
        in_channels=128,
        channels=128,
        num_classes=11,
        norm_cfg=norm_cfg,
        act_cfg=dict(type="ReLU", inplace=True),
        align_corners=True,
        loss_decode=[
            dict(type="CrossEntropyLoss", loss_weight=0.4),
            ohem,
            dict(type="BoundaryLoss", loss_weight=20.0),
            ohem,
        ],
    ),
)
