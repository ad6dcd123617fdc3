"""Mask R-CNN with a NAT-Tiny, COCO.

Paper: Hassani et al., Neighborhood Attention Transformer, CVPR 2023, arXiv:2204.07143. By the
authors' README box AP and mask AP 47.7 and 42.6. Not reproduced here: this needs 8 GPUs, the
dataset and their weights of ImageNet:

    bash tools/dist_train.sh configs/nat/mask-rcnn_nat-t_fpn_ms-crop-3x_coco.py 8 \
        --cfg-options model.backbone.init_cfg.type=Pretrained \
        model.backbone.init_cfg.checkpoint=FILE
"""

_base_ = ["./mask-rcnn_nat-m_fpn_ms-crop-3x_coco.py"]

model = dict(backbone=dict(depths=(3, 4, 18, 5)))
