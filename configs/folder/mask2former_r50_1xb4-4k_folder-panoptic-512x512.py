"""Mask2Former, ResNet-50, on a folder of your own panoptic maps: 512 x 512, 4000 iterations.

Mask2Former, arXiv:2112.01527. docs/train_a_detector.md tells what your folder may look like.

    mmattn train configs/folder/mask2former_r50_1xb4-4k_folder-panoptic-512x512.py data=my_maps

``load_from=FILE`` with weights of COCO, converted by ``mmattn convert``, needs far fewer
images. The backbone alone starts from torchvision's, which are downloaded.
"""

_base_ = [
    "../_base_/models/mask2former_r50.py",
    "../_base_/datasets/folder_panoptic.py",
    "../_base_/schedules/mask2former_adamw.py",
    "../_base_/schedules/mask2former_4k.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    panoptic_head=dict(num_things_classes="auto", num_stuff_classes="auto"),
    panoptic_fusion_head=dict(num_things_classes="auto", num_stuff_classes="auto"),
    test_cfg=dict(instance_on=False),
)
