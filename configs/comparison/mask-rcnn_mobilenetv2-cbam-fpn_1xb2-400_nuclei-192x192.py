"""Mask R-CNN with CBAM behind the maps of its MobileNetV2, nuclei of the Data Science Bowl 2018.

CBAM: Woo et al., ECCV 2018, arXiv:1807.06521. At the start its gates multiply the maps by about a
quarter, which the layers behind them have to make up for. Results: docs/results/nuclei.

    mmattn train configs/comparison/mask-rcnn_mobilenetv2-cbam-fpn_1xb2-400_nuclei-192x192.py
"""

_base_ = ["./mask-rcnn_mobilenetv2-fpn_1xb2-400_nuclei-192x192.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmattn.WithPlugins",
        inner=_base_.model.backbone,
        plugins=[dict(cfg=dict(type="mmattn.CBAM"), stages=(0, 1, 2, 3))],
    )
)
