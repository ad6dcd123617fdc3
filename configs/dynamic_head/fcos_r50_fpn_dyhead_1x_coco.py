"""FCOS with Dynamic Head on a ResNet-50, COCO: mmdet's FCOS, the authors' form of the neck.

Paper: Dai et al., Dynamic Head, CVPR 2021, arXiv:2106.08322; the authors published no config for
FCOS. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/dynamic_head/fcos_r50_fpn_dyhead_1x_coco.py 8
"""

_base_ = ["mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py"]

model = dict(
    data_preprocessor=dict(pad_size_divisor=128),
    neck=[
        dict(
            type="FPN",
            in_channels=[256, 512, 1024, 2048],
            out_channels=256,
            start_level=1,
            add_extra_convs="on_output",
            relu_before_extra_convs=True,
            num_outs=5,
        ),
        dict(
            type="mmattn.DynamicHead",
            in_channels=256,
            out_channels=256,
            bias=True,
            init="official",
        ),
    ],
)
