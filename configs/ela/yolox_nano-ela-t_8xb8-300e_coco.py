"""YOLOX-Nano with ELA-T on the three maps of its backbone, COCO.

Paper: Xu and Wan, ELA, arXiv:2403.01123. The authors put the block there and at four places of the
neck, shared between some of them; their one published file has version T. Their log on VOC says
74.36 mAP with ELA and 73.80 with CBAM. Not reproduced here: this needs 8 GPUs and the dataset.

    bash tools/dist_train.sh configs/ela/yolox_nano-ela-t_8xb8-300e_coco.py 8
"""

_base_ = ["mmdet::yolox/yolox_nano_8xb8-300e_coco.py"]

model = dict(
    backbone=dict(
        _delete_=True,  # the base's backbone becomes the inner one
        type="mmattn.WithPlugins",
        inner=_base_.model.backbone,
        plugins=[dict(cfg=dict(type="mmattn.ELA", version="T"), stages=(True, True, True))],
    )
)

# The base's sizes are those of the larger YOLOX, 640; these lie around the test's own, 416.
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1]["transforms"][0] = [
    dict(type="Resize", scale=(side, side), keep_ratio=True) for side in (416, 320, 512)
]
