"""CCNet, ResNet-18 of output stride 8, ADE20K, crops of 512 x 512, 80 000 iterations.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721.
The paper has no row for ResNet-18; the head is a quarter as wide, as its features are.
Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r18-d8_4xb4-80k_ade20k-512x512.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    backbone=dict(
        depth=18,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet18_v1c"),
    ),
    decode_head=dict(in_channels=512, channels=128, num_classes=150),
    auxiliary_head=dict(in_channels=256, channels=64, num_classes=150),
)
