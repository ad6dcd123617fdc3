"""Mask R-CNN with recurrent criss-cross attention in its ResNet-50, COCO.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721: one RCCA module, R = 2,
right before the last block of res4. It gives box / mask AP 39.3 / 36.1 on val2017 with the module
and 38.2 / 34.8 without. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/mask-rcnn_r50-rcca_fpn_1x_coco.py 8
"""

_base_ = ["mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"]

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
