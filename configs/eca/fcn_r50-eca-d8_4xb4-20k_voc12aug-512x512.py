"""FCN with ECA in every block of its ResNet-50, PASCAL VOC 2012 + SBD, crops of 512 x 512.

Paper: Wang et al., ECA-Net, CVPR 2020, arXiv:1910.03151. It has no row for segmentation.
Not reproduced here: this needs 4 GPUs and the dataset.

The backbone starts from the authors' ImageNet weights, whose stem is one convolution of 7 x 7, not
the three of mmseg's ResNetV1c; bring them into our format once, then train:

    mmattn convert official_eca_resnet50.pth.tar \
        work_dirs/weights/eca_resnet50.safetensors
    bash tools/dist_train.sh configs/eca/fcn_r50-eca-d8_4xb4-20k_voc12aug-512x512.py 4
"""

_base_ = ["mmseg::fcn/fcn_r50-d8_4xb4-20k_voc12aug-512x512.py"]

model = dict(
    pretrained=None,
    backbone=dict(
        type="ResNet",
        # 3, 5, 5, 7 from the first stage to the last: the published backbone's kernels.
        plugins=[
            dict(
                cfg=dict(type="mmattn.ECA", kernel_size=3),
                stages=(True, False, False, False),
                position="after_conv3",
            ),
            dict(
                cfg=dict(type="mmattn.ECA", kernel_size=5),
                stages=(False, True, True, False),
                position="after_conv3",
            ),
            dict(
                cfg=dict(type="mmattn.ECA", kernel_size=7),
                stages=(False, False, False, True),
                position="after_conv3",
            ),
        ],
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/weights/eca_resnet50.safetensors"),
    ),
)
