"""Mask2Former with an ImageNet MobileNetV2, half the channels and fewer layers, for a CPU.

Norms keep the statistics of ImageNet, as those of the paper's ResNets, and learn scale and shift.
Give the heads your classes; weights of the backbone come from ``mmattn convert``.
"""

_base_ = ["./mask2former_r50.py"]

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmdet.MobileNetV2",
        out_indices=(1, 2, 4, 6),
        norm_eval=True,
        init_cfg=dict(
            type="Pretrained", checkpoint="work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors"
        ),
    ),
    panoptic_head=dict(
        in_channels=[24, 32, 96, 320],
        channels=128,
        encoder_layers=3,
        encoder_ffn_channels=512,
        decoder_layers=3,
        decoder_ffn_channels=512,
        recompute=False,
        loss_cfg=dict(num_points=2048),
    ),
)
