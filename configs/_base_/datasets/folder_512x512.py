"""Any folder of images and masks: crops of 512 x 512, shorter side 512 in the test.

Layout, classes and the rule for the masks are found by looking; docs/train_on_your_data.md tells
how. Give your folder with ``data=DIR``, and a model whose heads have
``num_classes="auto"``.
"""

dataset_type = "mmattn.FolderSegDataset"
data_root = "data/my_images"
crop_size = (512, 512)

train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="mmattn.LoadFolderMask"),
    dict(type="RandomResize", scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=(2048, 512), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="mmattn.LoadFolderMask"),
    dict(type="PackSegInputs"),
]
tta_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale_factor=ratio, keep_ratio=True)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="mmattn.LoadFolderMask")],
            [dict(type="PackSegInputs")],
        ],
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(type=dataset_type, data_root=data_root, split="train", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type=dataset_type, data_root=data_root, split="val", pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
