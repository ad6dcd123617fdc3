"""Mask2Former, half as wide, on an ImageNet MobileNetV2; nuclei of the Data Science Bowl 2018.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row: a network for a CPU, with 3
and 3 layers instead of 6 and 9 and 128 channels instead of 256. Measured: docs/results/nuclei; no
accuracy of the paper is reproduced. Convert the weights of torchvision's MobileNetV2 once, then
train:

    mmattn convert mobilenetv2_imagenet_features.safetensors \
        work_dirs/weights/mobilenetv2_imagenet_mmdet.safetensors \
        --converter torchvision-mobilenetv2-mmdet
    mmattn train configs/mask2former/mask2former_mobilenetv2_1xb2-2k_nuclei-instance-192x192.py
"""

_base_ = [
    "../_base_/models/mask2former_mobilenetv2_small.py",
    "../_base_/datasets/nuclei_instance_192x192.py",
    "../_base_/schedules/mask2former_500i_small.py",
    "../_base_/detection_runtime_iters.py",
]

max_iters = 2000
val_interval = max_iters
model = dict(
    data_preprocessor=dict(pad_seg=False),
    # The validation image with most nuclei has 111.
    panoptic_head=dict(num_things_classes=1, num_stuff_classes=0, num_queries=120),
    panoptic_fusion_head=dict(num_things_classes=1, num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True, max_per_image=120),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=50, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=50, end=max_iters, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=val_interval)
default_hooks = dict(checkpoint=dict(interval=val_interval // 2))
