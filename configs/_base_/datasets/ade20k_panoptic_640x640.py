"""ADE20K, 100 things and 50 stuff classes: crops of 640 x 640, shorter side 640 in tests.

Maps and annotations are those that mmdet's ``tools/dataset_converters/ade20k2coco.py`` writes into
the folder of ADE20K, things first. The authors' own script lists the classes in the order of
semantic segmentation: its files are refused before a training.
"""

_base_ = ["./mask2former_loaders.py"]

dataset_type = "ADE20KPanopticDataset"
data_root = "data/ADEChallengeData2016/"
crop_size = (640, 640)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadPanopticAnnotations"),
    dict(
        type="RandomChoiceResize",
        scales=[(2560, int(640 * tenths / 10)) for tenths in range(5, 21)],
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
    # The authors fill up with grey, before the normalisation.
    dict(type="Pad", size=crop_size, pad_val=dict(img=(128, 128, 128), masks=0, seg=255)),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2560, 640), keep_ratio=True),
    dict(type="LoadPanopticAnnotations"),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

train_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file="ade20k_panoptic_train.json",
        data_prefix=dict(img="images/training/", seg="ade20k_panoptic_train/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file="ade20k_panoptic_val.json",
        data_prefix=dict(img="images/validation/", seg="ade20k_panoptic_val/"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type="CocoPanopticMetric",
    ann_file=data_root + "ade20k_panoptic_val.json",
    seg_prefix=data_root + "ade20k_panoptic_val/",
)
test_evaluator = val_evaluator
