"""CCNet with the category-consistent loss, ResNet-101, Cityscapes, crops of 769 x 769.

Paper: Huang et al., CCNet, TPAMI 2020, arXiv:1811.11721, section 3.3. It gives 80.5 mIoU on val
with the loss and 79.8 without (ResNet-101, R = 2); the authors never released it. Not reproduced
here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r101-d8-ccl_4xb2-60k_cityscapes-769x769.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/cityscapes_769x769.py",
    "../_base_/schedules/schedule_60k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(769, 769)),
    backbone=dict(
        depth=101,
        init_cfg=dict(type="Pretrained", checkpoint="open-mmlab://resnet101_v1c"),
    ),
    decode_head=dict(
        align_corners=True,
        loss_category=dict(type="mmattn.CategoryConsistentLoss"),
        category_channels=16,
    ),
    auxiliary_head=dict(align_corners=True),
    test_cfg=dict(mode="slide", crop_size=(769, 769), stride=(513, 513)),
)
