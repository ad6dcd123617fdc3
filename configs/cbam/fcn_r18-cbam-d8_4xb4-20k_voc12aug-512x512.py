"""FCN with CBAM in every block of its ResNet-18, PASCAL VOC 2012 + SBD, crops of 512 x 512.

Paper: Woo et al., CBAM, ECCV 2018, arXiv:1807.06521. It has no row for segmentation, and its
authors published no ResNet-18: the blocks start fresh in a network that knows ImageNet.
Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/cbam/fcn_r18-cbam-d8_4xb4-20k_voc12aug-512x512.py 4
"""

_base_ = ["mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py"]

model = dict(
    pretrained="open-mmlab://resnet18_v1c",
    backbone=dict(
        depth=18,
        # A block of two convolutions ends with the second.
        plugins=[dict(cfg=dict(type="mmattn.CBAM"), position="after_conv2")],
    ),
    decode_head=dict(in_channels=512, channels=128),
    auxiliary_head=dict(in_channels=256, channels=64),
)
