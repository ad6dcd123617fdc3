"""Mask2Former, ResNet-50, on a folder of your own instance masks: 512 x 512, 4000 iterations.

Mask2Former, arXiv:2112.01527. docs/train_a_detector.md tells what your folder may look like.

    mmattn train configs/folder/mask2former_r50_1xb4-4k_folder-masks-512x512.py data=my_masks

``load_from=FILE`` with weights of COCO, converted by ``mmattn convert``, needs far fewer
images. The backbone alone starts from torchvision's, which are downloaded.
"""

_base_ = [
    "../_base_/models/mask2former_r50.py",
    "../_base_/datasets/folder_masks.py",
    "../_base_/schedules/mask2former_adamw.py",
    "../_base_/schedules/mask2former_4k.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    data_preprocessor=dict(pad_seg=False),
    panoptic_head=dict(num_things_classes="auto", num_stuff_classes=0),
    panoptic_fusion_head=dict(num_things_classes="auto", num_stuff_classes=0),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
