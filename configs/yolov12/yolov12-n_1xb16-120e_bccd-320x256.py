"""YOLOv12-N on BCCD, blood cells in three classes (205 training images): 120 epochs, for a CPU.

BCCD (MIT): https://github.com/Shenggan/BCCD_Dataset, the folder with ``JPEGImages``,
``Annotations`` and ``ImageSets``. docs/results/yolov12_bccd has figures.

    mmattn train configs/yolov12/yolov12-n_1xb16-120e_bccd-320x256.py data_root=BCCD
"""

_base_ = "../folder/yolov12-n_1xb16-100e_folder-640x640.py"

data_root = "data/bccd"
image_size = (256, 320)  # height, width; ``image_size=480,640`` sets all pipelines
scale = image_size[::-1]
last_steps = [
    dict(type="mmattn.HSVGain"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomFlip", prob=0.5, direction="vertical"),  # cells have no upside
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "flip", "flip_direction"),
    ),
]
mix = dict(type="mmattn.MosaicAffine", scale=scale, affine=dict(translate=0.1, scale=0.5))
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
    num_workers=1,
    dataset=dict(dataset=dict(data_root=data_root), pipeline=[mix, *last_steps]),
)
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=120)
custom_hooks = [
    dict(
        type="mmattn.LastEpochsPipelineHook",
        last_epochs=10,
        pipeline=[mix | dict(prob=0.0), *last_steps],
    ),
]
