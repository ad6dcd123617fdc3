"""DeepLabV3 with ELA-S in every block of its ResNet-18, PASCAL VOC 2012 + SBD, 512 x 512.

Paper: Xu and Wan, ELA, arXiv:2403.01123. The authors' DeepLabV3 has a ResNet of such blocks;
its settings are not recorded. Their logs on VOC 2012 spread by 0.45 mIoU between runs of one
setting, more than most blocks differ. Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ela/deeplabv3_r18-ela-s-d8_4xb4-20k_voc12aug-512x512.py 4
"""

_base_ = ["mmseg::deeplabv3/deeplabv3_r50-d8_4xb4-20k_voc12aug-512x512.py"]

model = dict(
    pretrained="open-mmlab://resnet18_v1c",
    backbone=dict(
        depth=18,
        plugins=[
            dict(
                cfg=dict(type="mmattn.ELA", version="S", residual=True),
                position="after_conv2",
            )
        ],
    ),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64),
)
