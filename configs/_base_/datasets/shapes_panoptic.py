"""The generated shapes, panoptic: 6 things, 4 stuff; written by ``mmattn data shapes``."""

dataset_type = "CocoPanopticDataset"
data_root = "data/shapes/"
thing_classes = ("circle", "square", "triangle", "star", "ring", "cross")
stuff_classes = ("grass", "water", "brick", "sand")
metainfo = dict(
    classes=thing_classes + stuff_classes,
    thing_classes=thing_classes,
    stuff_classes=stuff_classes,
    palette=[
        (220, 20, 60),
        (255, 170, 30),
        (120, 60, 200),
        (250, 240, 60),
        (255, 120, 200),
        (250, 250, 250),
        (90, 160, 60),
        (50, 110, 200),
        (150, 80, 60),
        (210, 190, 140),
    ],
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadPanopticAnnotations"),
    dict(type="Resize", scale=(256, 192), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(256, 192), keep_ratio=True),
    dict(type="LoadPanopticAnnotations"),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    batch_sampler=dict(type="AspectRatioBatchSampler"),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file="annotations/panoptic_train.json",
        data_prefix=dict(img="images/train/", seg="annotations/panoptic_train/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file="annotations/panoptic_val.json",
        data_prefix=dict(img="images/val/", seg="annotations/panoptic_val/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type="mmattn.ClasswisePanopticMetric",
    ann_file=data_root + "annotations/panoptic_val.json",
    seg_prefix=data_root + "annotations/panoptic_val/",
)
test_evaluator = val_evaluator
