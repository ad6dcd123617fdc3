"""UPerNet with a DiNAT-Tiny, ADE20K.

Paper: Hassani and Shi, Dilated Neighborhood Attention Transformer, 2022, arXiv:2209.15001; NAT is
arXiv:2204.07143. By the authors' README mIoU 47.8, single scale. Not reproduced here: this needs 8
GPUs, the dataset and their weights of ImageNet:

    bash tools/dist_train.sh configs/nat/dinat-t_upernet_8xb2-160k_ade20k-512x512.py 8 \
        --cfg-options model.backbone.init_cfg.type=Pretrained \
        model.backbone.init_cfg.checkpoint=FILE
"""

_base_ = ["./nat-t_upernet_8xb2-160k_ade20k-512x512.py"]

model = dict(
    backbone=dict(dilations=[[1, 16, 1], [1, 4, 1, 8], [1, 2, 1, 3, 1, 4] * 3, [1, 2, 1, 2, 1]])
)
