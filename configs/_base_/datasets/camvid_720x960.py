"""CamVid, 11 classes, the original images of 960 x 720 pixels: crops as large as that.

Layout: ``{images,annotations}/{train,val}`` as in ``mmattn.CamVidDataset``, all of them PNG; masks
hold 0..10 in its order of classes and 11 where nothing is labelled.
"""

_base_ = "./camvid_360x360.py"

data_root = "data/camvid_960x720/"
crop_size = (720, 960)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="RandomResize", scale=(960, 720), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(960, 720), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    dataset=dict(data_root=data_root, img_suffix=".png", pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(data_root=data_root, img_suffix=".png", pipeline=test_pipeline))
test_dataloader = val_dataloader
