"""A narrow Attention U-Net on the generated shapes.

Oktay et al., Attention U-Net, MIDL 2018, arXiv:1804.03999: volumes of computed tomography there,
whose results are not reproduced; images here, four levels from 16 to 128 channels.

    mmattn make_shapes work_dirs/demo/shapes --num-train 600 --num-val 60 --size 96 128
    mmattn train configs/attention_unet/gated-unet-s4_1xb8-600_shapes-96x128.py
"""

_base_ = ["../ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py"]

norm_cfg = dict(type="BN")
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmattn.GatedUNet",
        base_channels=16,
        num_stages=4,
        strides=(1, 1, 1, 1),
        enc_num_convs=(2, 2, 2, 2),
        dec_num_convs=(2, 2, 2),
        downsamples=(True, True, True),
        enc_dilations=(1, 1, 1, 1),
        dec_dilations=(1, 1, 1),
        norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        _delete_=True,
        type="FCNHead",
        in_channels=16,
        in_index=3,
        channels=16,
        num_convs=1,
        concat_input=False,
        num_classes=10,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", class_weight=[4.0] * 6 + [1.0] * 4),
    ),
    # Deep supervision, as in the paper, of one level more.
    auxiliary_head=dict(
        type="FCNHead",
        in_channels=32,
        in_index=2,
        channels=16,
        num_convs=1,
        concat_input=False,
        num_classes=10,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4),
    ),
)
