"""CCNet, ResNet-18 of output stride 8, CamVid, crops of 360 x 360, 20 000 iterations.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721.
The paper has no CamVid row for ResNet-18.
Not reproduced here: this needs a GPU and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r18-d8_1xb8-20k_camvid-360x360.py 1
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/camvid_360x360.py",
    "../_base_/schedules/schedule_20k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(360, 360)),
    backbone=dict(
        depth=18,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet18_v1c"),
    ),
    decode_head=dict(in_channels=512, channels=128, num_classes=11),
    auxiliary_head=dict(in_channels=256, channels=64, num_classes=11),
)
