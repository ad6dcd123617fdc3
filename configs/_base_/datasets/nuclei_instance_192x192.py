"""Nuclei of the Data Science Bowl 2018: crops of 192 x 192, whole images of about 256 x 256.

A folder of images and annotations in COCO's form, one class. Images are scaled to 192 to 384, so
that a crop has all to a quarter of one. Tests are at the size of most files: the fewer nuclei a
network has seen together, the worse it is on more of them (docs/results/nuclei).
"""

_base_ = ["./folder_masks.py"]

data_root = "data/nuclei"
crop_size = (192, 192)
scale = (320, 256)

train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),  # cells have no upside
    dict(type="RandomResize", scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_size=crop_size,
        crop_type="absolute",
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    # Of an object that touches the crop by less than a pixel nothing is left but a box of zeros.
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True, keep_empty=False),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = scale
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(
    _delete_=True, type="mmattn.ClasswiseCocoMetric", metric=["segm", "boundary", "bbox"]
)
test_evaluator = val_evaluator
