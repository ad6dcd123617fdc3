"""FCN with CBAM in every block of its ResNet-50, PASCAL VOC 2012 + SBD, crops of 512 x 512.

Paper: Woo et al., CBAM, ECCV 2018, arXiv:1807.06521. It has no row for segmentation.
Not reproduced here: this needs 4 GPUs and the dataset.

The backbone starts from the authors' ImageNet weights, whose stem is one convolution of 7 x 7, not
the three of mmseg's ResNetV1c; bring them into our format once, then train:

    mmattn convert official_cbam_resnet50.pth \
        work_dirs/weights/cbam_resnet50.safetensors
    bash tools/dist_train.sh configs/cbam/fcn_r50-cbam-d8_4xb4-20k_voc12aug-512x512.py 4
"""

_base_ = ["mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py"]

model = dict(
    pretrained=None,
    backbone=dict(
        type="ResNet",
        plugins=[dict(cfg=dict(type="mmattn.CBAM"), position="after_conv3")],
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/weights/cbam_resnet50.safetensors"),
    ),
)
