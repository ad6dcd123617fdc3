"""Any folder of images and boxes, to be mixed by ``train_dataloader.dataset.pipeline``.

COCO, Pascal VOC and YOLO are told apart by looking; docs/train_a_detector.md says how. Give your
folder with ``data=DIR``, and a model whose head has ``num_classes="auto"``.
Decoded images are kept in memory, up to ``cache_mib`` in each process that loads them.
"""

dataset_type = "mmattn.FolderDetDataset"
data_root = "data/my_boxes"
image_size = (640, 640)  # height, width; an option, image_size=480,640, sets all pipelines
scale = image_size[::-1]

load_pipeline = [
    dict(type="mmattn.LoadImageFromFile", cache_mib=512),
    dict(type="LoadAnnotations", with_bbox=True),
]
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="Pad", size=scale, pad_val=dict(img=(114, 114, 114))),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        # The metric takes its ground truth from ``instances``: it reads no file.
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmattn.MultiImageMixDataset",
        dataset=dict(type=dataset_type, data_root=data_root, split="train", pipeline=load_pipeline),
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, split="val", test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CocoMetric", metric="bbox")
test_evaluator = val_evaluator
