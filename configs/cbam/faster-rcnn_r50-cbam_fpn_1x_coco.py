"""Faster R-CNN with CBAM in every block of its ResNet-50, COCO.

Paper: Woo et al., CBAM, ECCV 2018, arXiv:1807.06521. Its own Faster R-CNN, of another schedule,
gains 1.1 AP by it: 27.0 without and 28.1 with. Not reproduced here: this needs 8 GPUs and the data.

The backbone starts from the authors' ImageNet weights; bring them into our format once, then train:

    mmattn convert official_cbam_resnet50.pth \
        work_dirs/weights/cbam_resnet50.safetensors
    bash tools/dist_train.sh configs/cbam/faster-rcnn_r50-cbam_fpn_1x_coco.py 8

The norm inside the spatial gates keeps its ImageNet statistics, as all norms of this backbone
(norm_eval=True). From a plain ResNet's weights take norm_eval=False: the gates have learnt none.
"""

_base_ = ["mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"]

model = dict(
    backbone=dict(
        plugins=[dict(cfg=dict(type="mmattn.CBAM"), position="after_conv3")],
        init_cfg=dict(type="Pretrained", checkpoint="work_dirs/weights/cbam_resnet50.safetensors"),
    )
)
