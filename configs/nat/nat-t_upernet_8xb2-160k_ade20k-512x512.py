"""UPerNet with a NAT-Tiny, ADE20K.

Paper: Hassani et al., Neighborhood Attention Transformer, CVPR 2023, arXiv:2204.07143. By the
authors' README mIoU 47.1, single scale. Not reproduced here: this needs 8 GPUs, the dataset and
their weights of ImageNet:

    bash tools/dist_train.sh configs/nat/nat-t_upernet_8xb2-160k_ade20k-512x512.py 8 \
        --cfg-options model.backbone.init_cfg.type=Pretrained \
        model.backbone.init_cfg.checkpoint=FILE
"""

_base_ = ["./nat-m_upernet_8xb2-160k_ade20k-512x512.py"]

model = dict(backbone=dict(depths=(3, 4, 18, 5)))
