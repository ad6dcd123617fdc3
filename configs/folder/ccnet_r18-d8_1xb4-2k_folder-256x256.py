"""CCNet, ResNet-18 of output stride 8, on a folder of your own: crops of 256 x 256, 2000 steps.

Huang et al., CCNet, ICCV 2019 and TPAMI 2020, arXiv:1811.11721, with a head as wide as small
features need. docs/train_on_your_data.md tells what your folder may look like and what to change.

    mmattn train configs/folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py data=my_images

The backbone starts from torchvision's ImageNet weights, which are downloaded;
``model.backbone.init_cfg=None`` starts from random ones.
"""

_base_ = ["../_base_/datasets/folder_512x512.py", "../_base_/default_runtime.py"]

crop_size = (256, 256)
max_iters = 2000
norm_cfg = dict(type="BN")
# The mean is over the labelled pixels, however many are not.
loss = dict(type="CrossEntropyLoss", loss_weight=1.0, avg_non_ignore=True)
head = dict(num_classes="auto", norm_cfg=norm_cfg, align_corners=False)

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        size=crop_size,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type="ResNet",
        depth=18,
        num_stages=4,
        out_indices=(2, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        contract_dilation=True,
        norm_cfg=norm_cfg,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet18"),
    ),
    decode_head=dict(
        **head, type="mmattn.CCHead", in_channels=512, in_index=1, channels=128, loss_decode=loss
    ),
    auxiliary_head=dict(
        **head,
        type="FCNHead",
        in_channels=256,
        in_index=0,
        channels=64,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(**loss | dict(loss_weight=0.4)),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)

train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="mmattn.LoadFolderMask"),
    dict(type="RandomResize", scale=(1024, 256), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=(1024, 256), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="mmattn.LoadFolderMask"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.01),
    # New layers learn ten times as fast as the pretrained ones.
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1)), norm_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=100, by_epoch=False),
    dict(type="PolyLR", eta_min=0.0, power=0.9, begin=100, end=max_iters, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=200)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=20, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="CheckpointHook", by_epoch=False, interval=200, max_keep_ckpts=1, save_best="mIoU"
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="SegVisualizationHook"),
)
