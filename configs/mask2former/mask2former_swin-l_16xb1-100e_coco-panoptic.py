"""Mask2Former, Swin-L; COCO, panoptic, crops of 1024 x 1024, 100 epochs on 16 GPUs.

Cheng et al., Mask2Former, CVPR 2022, arXiv:2112.01527, and the authors' config. They report
57.8 PQ; not reproduced here, as it needs 16 GPUs and the dataset.

    bash tools/dist_train.sh \
        configs/mask2former/mask2former_swin-l_16xb1-100e_coco-panoptic.py 16 --amp
"""

_base_ = [
    "../_base_/models/mask2former_swin-l.py",
    "../_base_/datasets/coco_panoptic_lsj.py",
    "../_base_/schedules/mask2former_adamw_swin.py",
    "../_base_/schedules/mask2former_100e_coco.py",
    "../_base_/detection_runtime_iters.py",
]

model = dict(
    panoptic_head=dict(num_queries=200),
)
train_dataloader = dict(batch_size=1)
