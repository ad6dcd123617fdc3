"""CamVid in its original size of 720 x 960, 11 classes: crops with edge maps, no colour jitter.

The long side becomes 960 times 0.5, 0.6, …, 2.1. Folders and masks as for the small images.
"""

_base_ = "./camvid_360x360.py"

data_root = "data/camvid_720x960/"
crop_size = (720, 960)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="mmattn.GenerateEdgeMap", border=0),
    dict(
        type="RandomChoiceResize",
        scales=[(96 * tenths,) * 2 for tenths in range(5, 22)],
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(960, 720), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
