"""The first eight panoptic maps of a folder, for training and validation, at 256 x 192.

Without augmentation: whether a network learns them by heart tells if its parts fit together.
"""

_base_ = ["./folder_panoptic.py"]

scale = (256, 192)
train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="LoadPanopticAnnotations"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="PackDetInputs"),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = scale
train_dataloader = dict(
    batch_size=2, num_workers=1, dataset=dict(indices=8, pipeline=train_pipeline)
)
val_dataloader = dict(num_workers=1, dataset=dict(split="train", indices=8, pipeline=test_pipeline))
test_dataloader = val_dataloader
