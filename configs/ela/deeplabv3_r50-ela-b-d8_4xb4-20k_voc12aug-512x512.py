"""DeepLabV3 with ELA-B in every block of its ResNet-50, PASCAL VOC 2012 + SBD, 512 x 512.

Paper: Xu and Wan, ELA, arXiv:2403.01123. The block is where the authors' ResNet has it: after
the 3 x 3 convolution, and residual. Their logs on VOC 2012 spread by 0.45 mIoU between runs of one
setting, more than most blocks differ. Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ela/deeplabv3_r50-ela-b-d8_4xb4-20k_voc12aug-512x512.py 4
"""

_base_ = ["mmseg::deeplabv3/deeplabv3_r50-d8_4xb4-20k_voc12aug-512x512.py"]

model = dict(
    backbone=dict(
        plugins=[
            dict(
                cfg=dict(type="mmattn.ELA", version="B", residual=True),
                position="after_conv2",
            )
        ],
    ),
)
