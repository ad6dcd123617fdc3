"""Cityscapes, fine annotations, 19 classes: crops of 1024 x 1024 with edge maps, no colour jitter.

The long side becomes 2048 times 0.5, 0.6, …, 2.1.
"""

_base_ = "./cityscapes_512x1024.py"

crop_size = (1024, 1024)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="mmattn.GenerateEdgeMap"),
    dict(
        type="RandomChoiceResize",
        scales=[(round(204.8 * tenths),) * 2 for tenths in range(5, 22)],
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
