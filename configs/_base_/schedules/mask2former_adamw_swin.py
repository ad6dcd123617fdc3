"""Mask2Former's optimizer with a Swin: its norms and tables of relative positions do not decay.

A key of ``custom_keys`` sets both multipliers of what it matches, the longest one first, so each
norm of the backbone needs one that is longer than "backbone".
"""

_base_ = ["./mask2former_adamw.py"]

no_decay = dict(lr_mult=0.1, decay_mult=0.0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "backbone.norm": no_decay,
            "patch_embed.norm": no_decay,
            "downsample.norm": no_decay,
            "relative_position_bias_table": no_decay,
            **{f"blocks.{block}.norm": no_decay for block in range(18)},
        },
    ),
)
