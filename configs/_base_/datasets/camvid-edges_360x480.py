"""CamVid, 11 classes, images of 360 x 480: whole crops with edge maps, no colour jitter.

The long side becomes 480 times 0.5, 0.6, …, 2.1.
"""

_base_ = "./camvid_360x360.py"

crop_size = (360, 480)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="mmattn.GenerateEdgeMap", border=0),
    dict(
        type="RandomChoiceResize",
        scales=[(48 * tenths,) * 2 for tenths in range(5, 22)],
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
