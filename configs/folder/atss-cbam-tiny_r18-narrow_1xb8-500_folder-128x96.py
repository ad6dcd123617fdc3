"""The small detector of ``make demo`` on your own folder: minutes of one core, to try the tools.

An ATSS with CBAM after each stage of a narrow ResNet-18. Images are scaled to fit into 128 x 96
pixels; small objects are lost. For results take yolov12-n_1xb16-100e_folder-640x640.py and a GPU.

    mmattn train atss-cbam-tiny data=my_boxes
"""

_base_ = ["../cbam/atss_r18-narrow-cbam_1xb8-500_shapes-128x96.py"]

metainfo = None  # the folder's own classes
dataset_type = "mmattn.FolderDetDataset"
data_root = "data/my_boxes"
scale = (128, 96)

model = dict(bbox_head=dict(num_classes="auto"))
train_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomResize", scale=scale, ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        # The metric takes its ground truth from ``instances``: it reads no file.
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split="train",
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split="val",
        test_mode=True,
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type="CocoMetric", metric="bbox")
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best="coco/bbox_mAP"))
