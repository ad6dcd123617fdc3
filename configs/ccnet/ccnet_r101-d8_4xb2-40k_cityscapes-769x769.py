"""CCNet, ResNet-101 of output stride 8, Cityscapes, crops of 769 x 769, 40 000 iterations.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721.
The paper gives 79.8 mIoU on val for ResNet-101 with R = 2 (78.0 with R = 1, 80.2 with R = 3).
Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r101-d8_4xb2-40k_cityscapes-769x769.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/cityscapes_769x769.py",
    "../_base_/schedules/schedule_40k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(769, 769)),
    backbone=dict(
        depth=101,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet101_v1c"),
    ),
    decode_head=dict(align_corners=True),
    auxiliary_head=dict(align_corners=True),
    test_cfg=dict(mode="slide", crop_size=(769, 769), stride=(513, 513)),
)
