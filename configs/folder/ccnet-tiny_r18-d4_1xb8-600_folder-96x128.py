"""The small CCNet of ``make demo`` on a folder of your own: minutes of one core, to try the tools.

Images are scaled until their shorter side is 96 pixels; what is small in them is lost. For results
take ccnet_r18-d8_1xb4-2k_folder-256x256.py and a GPU.

    mmattn train ccnet-tiny data=my_images
"""

_base_ = ["../ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py"]

dataset_type = "mmattn.FolderSegDataset"
data_root = "data/my_images"
crop_size = (96, 128)

model = dict(
    decode_head=dict(
        num_classes="auto",
        loss_decode=dict(_delete_=True, type="CrossEntropyLoss", avg_non_ignore=True),
    )
)
train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="mmattn.LoadFolderMask"),
    dict(type="RandomResize", scale=(384, 96), ratio_range=(1.0, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.9),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=(384, 96), keep_ratio=True),
    # After the resize: the ground truth keeps its own size.
    dict(type="mmattn.LoadFolderMask"),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split="train",
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type=dataset_type, data_root=data_root, split="val", pipeline=test_pipeline
    )
)
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(save_best="mIoU"))
