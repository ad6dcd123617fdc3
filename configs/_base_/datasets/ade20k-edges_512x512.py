"""ADE20K, 150 classes: crops of 512 x 512 with edge maps; shorter side 640 in the test.

No colour jitter. The shorter side becomes 640, then the long side 640 times 0.5, 0.6, …, 1.6. The
test is the usual one: whole images, every pixel at its original size.
"""

_base_ = "./ade20k_512x512.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="mmattn.GenerateEdgeMap"),
    dict(type="Resize", scale=(100000, 640), keep_ratio=True),
    dict(
        type="RandomChoiceResize",
        scales=[(64 * tenths,) * 2 for tenths in range(5, 17)],
        keep_ratio=True,
    ),
    dict(type="RandomCrop", crop_size=(512, 512)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(2560, 640), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
