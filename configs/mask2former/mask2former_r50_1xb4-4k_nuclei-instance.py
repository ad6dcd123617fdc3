"""Mask2Former, ResNet-50; nuclei of the Data Science Bowl 2018, instance, 4000 iterations on 1 GPU.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, has no such row. Images are cut into 512 x
512 after scaling by 0.5 to 2; 200 queries, as some have more than a hundred nuclei. The dataset is
a folder of images and annotations in COCO's form. No accuracy is claimed or reproduced.

    mmattn train configs/mask2former/mask2former_r50_1xb4-4k_nuclei-instance.py
"""

_base_ = ["../folder/mask2former_r50_1xb4-4k_folder-masks-512x512.py"]

data_root = "data/nuclei"
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
model = dict(
    panoptic_head=dict(num_things_classes=1, num_queries=200),
    panoptic_fusion_head=dict(num_things_classes=1),
    test_cfg=dict(max_per_image=200),
)
