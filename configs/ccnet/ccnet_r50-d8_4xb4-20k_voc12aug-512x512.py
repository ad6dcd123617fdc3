"""CCNet, ResNet-50 of output stride 8, PASCAL VOC 2012 + SBD, crops of 512 x 512, 20 000 steps.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721.
The paper has no row for this dataset.
Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r50-d8_4xb4-20k_voc12aug-512x512.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/voc12aug_512x512.py",
    "../_base_/schedules/schedule_20k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=21),
    auxiliary_head=dict(num_classes=21),
)
