"""CCNet, ResNet-18 of output stride 8, Cityscapes, crops of 512 x 1024, 40 000 iterations.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721.
The paper has no row for ResNet-18; the head is a quarter as wide, as its features are.
Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r18-d8_4xb2-40k_cityscapes-512x1024.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/cityscapes_512x1024.py",
    "../_base_/schedules/schedule_40k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    backbone=dict(
        depth=18,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet18_v1c"),
    ),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64),
)
