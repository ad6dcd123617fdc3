"""BEVANet for 19 classes as its authors train it: batch norm per device, whole images tested.

Images are padded to the crop after normalisation.
"""

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type="mmattn.BEVANet"),
    decode_head=dict(type="mmattn.BEVAHead", in_channels=256, channels=128, num_classes=19),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
