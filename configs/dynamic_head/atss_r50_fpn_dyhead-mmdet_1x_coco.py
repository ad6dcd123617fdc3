"""ATSS with Dynamic Head on a ResNet-50, in the form of mmdet's config and weights, COCO.

Paper: Dai et al., Dynamic Head, CVPR 2021, arXiv:2106.08322. By mmdet's page AP 43.3 on val2017
with its 3x3 predictions, offsets that start at 0 and torchvision's backbone. Not reproduced here:
this needs 8 GPUs and the dataset. mmdet's checkpoint of the config below loads as it is.

    bash tools/dist_train.sh configs/dynamic_head/atss_r50_fpn_dyhead-mmdet_1x_coco.py 8
"""

_base_ = ["mmdet::dyhead/atss_r50_fpn_dyhead_1x_coco.py"]

model = dict(
    neck=[
        dict(
            type="FPN",
            in_channels=[256, 512, 1024, 2048],
            out_channels=256,
            start_level=1,
            add_extra_convs="on_output",
            num_outs=5,
        ),
        dict(type="mmattn.DynamicHead", in_channels=256, out_channels=256, num_blocks=6),
    ]
)
