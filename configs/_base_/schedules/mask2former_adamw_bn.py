"""Mask2Former's optimizer with a ResNet whose norms are trained: they do not decay.

A key of ``custom_keys`` sets both multipliers of what it matches, the longest one first, so each
norm of the backbone needs one that is longer than "backbone".
"""

_base_ = ["./mask2former_adamw.py"]

no_decay = dict(lr_mult=0.1, decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "backbone.bn1": no_decay,
            **{f"layer{stage}.0.downsample.1": no_decay for stage in range(1, 5)},
            **{f"layer{s}.{block}.bn": no_decay for s in range(1, 5) for block in range(23)},
        },
    ),
)
