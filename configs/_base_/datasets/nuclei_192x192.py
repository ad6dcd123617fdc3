"""Nuclei of the Data Science Bowl 2018: crops of 192 x 192, whole images of up to 400 x 320.

A folder of images and annotations in COCO's form, one class. Nuclei are small, 13 pixels wide in
the median, so that images of 256 x 256 are tested at 320 x 320. Of images that are scaled to 192 to
384, a crop has all to a quarter.
"""

_base_ = ["./folder_masks.py"]

data_root = "data/nuclei"
crop_size = (192, 192)
scale = (400, 320)

train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),  # cells have no upside
    dict(type="RandomResize", scale=scale, ratio_range=(0.6, 1.2), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_size=crop_size,
        crop_type="absolute",
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True, type="mmattn.ClasswiseCocoMetric", metric=["segm", "boundary", "bbox"]
)
test_evaluator = val_evaluator
