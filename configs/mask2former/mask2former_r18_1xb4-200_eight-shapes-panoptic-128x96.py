"""Mask2Former, small, learns eight of the generated shapes' images by heart: minutes on a CPU.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row. From random weights and
without augmentation. The training images are the validation set too, so that the panoptic quality
tells whether network, loss and results fit together, and nothing about other images.

    mmattn data shapes data/shapes --num-train 8 --num-val 1 --size 96 128
    mmattn train configs/mask2former/mask2former_r18_1xb4-200_eight-shapes-panoptic-128x96.py
"""

_base_ = [
    "../_base_/models/mask2former_r18_small.py",
    "../_base_/datasets/eight_panoptic.py",
    "../_base_/schedules/mask2former_500i_small.py",
    "../_base_/detection_runtime_iters.py",
]

data_root = "data/shapes"
scale = (128, 96)
model = dict(
    panoptic_head=dict(encoder_layers=2, decoder_layers=3, recompute=False),
    test_cfg=dict(instance_on=False),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = scale
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = scale
train_dataloader = dict(batch_size=4, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=1.0, decay_mult=1.0)})
)
max_iters = 200
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(checkpoint=dict(interval=max_iters // 2))
