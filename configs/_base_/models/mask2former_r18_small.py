"""Mask2Former with a ResNet-18, half the channels and fewer layers, for small images on a CPU.

For the generated shapes' 6 things and 4 stuff classes, from random weights.
"""

_base_ = ["./mask2former_r50.py"]

model = dict(
    backbone=dict(
        depth=18,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            _delete_=True, type="Kaiming", layer="Conv2d", mode="fan_out", nonlinearity="relu"
        ),
    ),
    panoptic_head=dict(
        in_channels=[64, 128, 256, 512],
        num_things_classes=6,
        num_stuff_classes=4,
        num_queries=20,
        channels=128,
        encoder_layers=3,
        encoder_ffn_channels=512,
        decoder_layers=6,
        decoder_ffn_channels=512,
        loss_cfg=dict(num_points=2048),
    ),
    panoptic_fusion_head=dict(num_things_classes=6, num_stuff_classes=4),
    test_cfg=dict(max_per_image=20),
)
