"""CCNet, ResNet-50 of output stride 8, ADE20K, crops of 512 x 512, 80 000 iterations.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721.
The paper has no ADE20K row for ResNet-50.
Not reproduced here: this needs 4 GPUs and the dataset.

    bash tools/dist_train.sh configs/ccnet/ccnet_r50-d8_4xb4-80k_ade20k-512x512.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/ade20k_512x512.py",
    "../_base_/schedules/schedule_80k.py",
    "../_base_/default_runtime.py",
]

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
