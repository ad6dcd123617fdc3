"""Mask2Former's optimizer: AdamW, decay for matrices alone, a tenth of the rate in the backbone.

The rate is for a batch of 16 images. Norms and embeddings do not decay, but for the pixel decoder's
level encoding, which does in the authors' code.
"""

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        custom_keys={
            "backbone": dict(lr_mult=0.1, decay_mult=1.0),
            "query_embed": dict(lr_mult=1.0, decay_mult=0.0),
            "query_feat": dict(lr_mult=1.0, decay_mult=0.0),
            "level_embed": dict(lr_mult=1.0, decay_mult=0.0),
        },
        norm_decay_mult=0.0,
    ),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
