"""CCNet as its authors train it: the network that their released checkpoints fit.

Paper: Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721. It gives 79.8 mIoU on
Cityscapes val for ResNet-101 with R = 2; the authors' README lists 79.74, 79.22 and 78.40 for three
runs. Not reproduced here: this needs 4 GPUs and the dataset.

What differs from ``ccnet_r101-d8_4xb2-40k_cityscapes-769x769.py``: a wider stem, max pooling that
rounds up, full dilation in every block, LeakyReLU in the heads, the wider auxiliary head, BGR
images less their mean, one of the 15 scales 0.7, 0.8, ..., 2.1, a learning rate that ends at 0.
Weight decay is the README's 1e-4; the authors' scripts say 5e-4.

Training starts from their ImageNet weights; their trained network can be tested at once:

    mmattn convert resnet101-imagenet.pth \
        work_dirs/weights/resnet101_authors.safetensors
    mmattn convert CS_scenes_60000.pth ccnet_authors.safetensors
    bash tools/dist_train.sh configs/ccnet/ccnet_r101-d8-authors_4xb2-60k_cityscapes-769x769.py 4
"""

_base_ = [
    "../_base_/models/ccnet_r50-d8.py",
    "../_base_/datasets/cityscapes_769x769.py",
    "../_base_/schedules/schedule_60k.py",
    "../_base_/default_runtime.py",
]

crop_size = (769, 769)
head = dict(act_cfg=dict(type="LeakyReLU", negative_slope=0.01), align_corners=True)
model = dict(
    data_preprocessor=dict(
        size=crop_size,
        mean=[104.00698793, 116.66876762, 122.67891434],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
    ),
    backbone=dict(
        type="mmattn.CeilPoolResNetV1c",
        depth=101,
        stem_channels=128,
        contract_dilation=False,
        init_cfg=dict(
            type="Pretrained", checkpoint="work_dirs/weights/resnet101_authors.safetensors"
        ),
    ),
    decode_head=dict(**head),
    auxiliary_head=dict(**head, type="mmattn.DeepSupervisionHead", channels=512),
    test_cfg=dict(mode="slide", crop_size=crop_size, stride=(513, 513)),
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(
        type="RandomChoiceResize",
        # Not rounded: the sides are, after the ratio is taken.
        scales=[(204.8 * tenths, 102.4 * tenths) for tenths in range(7, 22)],
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = [
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=0, end=60000, by_epoch=False),
]
