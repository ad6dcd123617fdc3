"""Mask2Former for label maps, small enough for a test; data: generated shapes."""
# ruff: noqa: C408  (dict(...) is how configs are written)

_base_ = ["./tiny_fcn.py"]

model = dict(
    type="mmattn.EncoderDecoder",
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    backbone=dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1)),
    decode_head=dict(
        _delete_=True,
        type="mmattn.Mask2FormerDecodeHead",
        in_channels=[8, 16, 32, 64],
        num_classes=10,
        num_queries=10,
        channels=32,
        num_heads=2,
        encoder_layers=1,
        encoder_ffn_channels=32,
        decoder_layers=3,
        decoder_ffn_channels=32,
        loss_cfg=dict(num_points=64),
    ),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type="AdamW", lr=1e-3))
