"""Mask2Former, Swin-L; ADE20K, instance, crops of 640 x 640, 160,000 iterations on 8 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
34.9 AP; not reproduced here, as it needs 8 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-l_8xb2-160k_ade20k-instance.py 8 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-l.py",
    "../_base_/datasets/ade20k_instance_640x640.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_160k_det.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    data_preprocessor=dict(pad_seg=False),
    panoptic_head=dict(num_things_classes=100, num_stuff_classes=0, num_queries=200),
    panoptic_fusion_head=dict(num_things_classes=100, num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
