"""Cityscapes, 8 things and 11 stuff classes: crops of 512 x 1024, whole images in the test.

Maps and annotations are in COCO's form, as Cityscapes' own ``createPanopticImgs`` writes them. In
the .json, ``file_name`` of an image has to be its path below leftImg8bit/train or leftImg8bit/val,
such as aachen/aachen_000000_000019_leftImg8bit.png, which that script does not write.
"""

dataset_type = "CocoPanopticDataset"
data_root = "data/cityscapes/"
crop_size = (512, 1024)
thing_classes = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
stuff_classes = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky"),
)
metainfo = dict(
    classes=thing_classes + stuff_classes,
    thing_classes=thing_classes,
    stuff_classes=stuff_classes,
    palette=[
        *((220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100)),
        *((0, 0, 230), (119, 11, 32), (128, 64, 128), (244, 35, 232), (70, 70, 70)),
        *((102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30), (220, 220, 0)),
        *((107, 142, 35), (152, 251, 152), (70, 130, 180)),
    ],
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadPanopticAnnotations"),
    dict(
        type="RandomChoiceResize",
        scales=[(4096, int(1024 * tenths / 10)) for tenths in range(5, 21)],
        resize_type="Resize",
        keep_ratio=True,
    ),
    dict(
        type="RandomCrop",
        crop_size=crop_size,
        crop_type="absolute",
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="PhotoMetricDistortion"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2048, 1024), keep_ratio=True),
    dict(type="LoadPanopticAnnotations"),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file="gtFine/cityscapes_panoptic_train.json",
        data_prefix=dict(img="leftImg8bit/train/", seg="gtFine/cityscapes_panoptic_train/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file="gtFine/cityscapes_panoptic_val.json",
        data_prefix=dict(img="leftImg8bit/val/", seg="gtFine/cityscapes_panoptic_val/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type="CocoPanopticMetric",
    ann_file=data_root + "gtFine/cityscapes_panoptic_val.json",
    seg_prefix=data_root + "gtFine/cityscapes_panoptic_val/",
)
test_evaluator = val_evaluator
