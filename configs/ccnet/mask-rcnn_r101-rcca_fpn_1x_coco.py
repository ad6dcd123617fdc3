"""Mask R-CNN with recurrent criss-cross attention in its ResNet-101, COCO.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721: one RCCA module, R = 2,
right before the last block of res4. It gives box / mask AP 41.0 / 37.3 on val2017 with the module
and 40.1 / 36.2 without. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/mask-rcnn_r101-rcca_fpn_1x_coco.py 8
"""

_base_ = ["mmdet::mask_rcnn/mask-rcnn_r101_fpn_1x_coco.py"]

model = dict(
    backbone=dict(
        type="mmattn.StagePluginResNet",
        plugins=[
            dict(
                cfg=dict(type="mmattn.CrissCrossAttention", recurrence=2),
                stages=(False, False, True, False),
                position="before_last_block",
            )
        ],
    )
)
