"""YOLOv12-N on the first eight training images of a folder, which are its validation set too.

A proof, not a training: a network, loss and decoding that fit together learn eight images by heart.
Without augmentation, from random weights; docs/results/detectors_bccd has a run on images of COCO.

    mmattn train configs/yolov12/yolov12-n_1xb8-300e_eight-images-416x416.py data_root=my_boxes
"""

_base_ = "../folder/yolov12-n_1xb16-100e_folder-640x640.py"

image_size = (416, 416)  # height, width
scale = image_size[::-1]
packed = dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape"))
test_pipeline = [
    dict(type="mmattn.LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="Pad", size=scale, pad_val=dict(img=(114, 114, 114))),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        dataset=dict(indices=8),
        pipeline=[dict(type="mmattn.MosaicAffine", scale=scale, prob=0.0), packed],
    ),
)
val_dataloader = dict(num_workers=1, dataset=dict(split="train", indices=8, pipeline=test_pipeline))
test_dataloader = val_dataloader
custom_hooks = []
train_cfg = dict(max_epochs=300, val_interval=50)
