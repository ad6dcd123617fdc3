"""Faster R-CNN with ECA in every block of its ResNet-50, COCO.

Paper: Wang et al., ECA-Net, CVPR 2020, arXiv:1910.03151. By the authors' README AP 38.0 with it.
Not reproduced here: this needs 8 GPUs and the dataset.

The authors' detector has kernels of 5 in every stage, but its ImageNet weights are not
published; those that are have 3, 5, 5, 7. Bring them into our format once, then train:

    mmattn convert official_eca_resnet50.pth.tar \
        work_dirs/weights/eca_resnet50.safetensors
    bash tools/dist_train.sh configs/eca/faster-rcnn_r50-eca_fpn_1x_coco.py 8
"""

_base_ = ["mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"]

model = dict(
    backbone=dict(
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
    )
)
