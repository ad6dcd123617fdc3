"""Mask R-CNN with a DiNAT-Tiny, COCO.

Paper: Hassani and Shi, Dilated Neighborhood Attention Transformer, 2022, arXiv:2209.15001; NAT is
arXiv:2204.07143. By the authors' README box AP and mask AP 48.6 and 43.5. Not reproduced here: this
needs 8 GPUs, the dataset and their weights of ImageNet:

    bash tools/dist_train.sh configs/nat/mask-rcnn_dinat-t_fpn_ms-crop-3x_coco.py 8 \
        --cfg-options model.backbone.init_cfg.type=Pretrained \
        model.backbone.init_cfg.checkpoint=FILE
"""

_base_ = ["./mask-rcnn_nat-t_fpn_ms-crop-3x_coco.py"]

model = dict(
    backbone=dict(dilations=[[1, 28, 1], [1, 7, 1, 14], [1, 3, 1, 5, 1, 7] * 3, [1, 3, 1, 3, 1]])
)
