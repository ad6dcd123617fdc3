"""What a wrong config gets before the first step, and that right ones pass: ours and upstream's."""

# ruff: noqa: C408  (settings are written as in a config)

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmattn.config import find_config, load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.data.shapes import write_shapes_dataset
from mmattn.errors import ConfigError, DataError
from mmattn.preflight import preflight
from mmattn.preflight.config_arguments import argument_problems
from mmattn.preflight.config_keys import check_keys
from mmattn.preflight.config_types import check_types
from mmattn.preflight.metrics import check_mask_metrics
from mmattn.preflight.num_classes import check_class_counts
from mmattn.preflight.schedule import schedule_problems

# Their parts live in a package that is not a dependency, or they name a class that does not exist.
UNBUILDABLE = {
    "mmpretrain": "the package 'mmpretrain' is not installed",
    "MOTChallengeMetrics": "Did you mean 'MOTChallengeMetric'",
}
#: Arguments in upstream's configs that their classes do not take.
WRONG_UPSTREAM = {
    "mmdet::solov2/solov2-light_": "train_cfg.by_epoch: unexpected argument 'by_epoch' for Epoch",
    "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712-cocofmt": "unexpected argument 'eval_mode'",
    "mmdet::v3det/fcos_swinb_fpn_8x4_sample1e-3": "unexpected argument 'force_grad_on_level'",
}
# One of each kind of head, dataset and trick; the slow test reads all of them.
SAMPLE = [
    "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py",
    "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py",
    "mmdet::panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py",
    "mmdet::htc/htc_r50_fpn_20e_coco.py",
    "mmdet::yolox/yolox_nano_8xb8-300e_coco.py",
    "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py",
    "mmdet::solov2/solov2_r50_fpn_1x_coco.py",
    "mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py",
    "mmdet::lvis/mask-rcnn_r50_fpn_sample1e-3_ms-1x_lvis-v1.py",
    "mmdet::seesaw_loss/mask-rcnn_r50_fpn_seesaw-loss_sample1e-3-ms-2x_lvis-v1.py",
    "mmdet::pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py",
    "mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py",
    "mmdet::glip/odinw/glip_atss_swin-t_a_fpn_dyhead_pretrain_odinw13.py",
    "mmdet::albu_example/mask-rcnn_r50_fpn_albu-1x_coco.py",
    "mmdet::fpg/faster-rcnn_r50_fpg_crop640-50e_coco.py",
    "mmdet::cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco.py",
    "mmdet::openimages/faster-rcnn_r50_fpn_32xb2-1x_openimages.py",
    "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "mmseg::ccnet/ccnet_r50-d8_4xb4-80k_ade20k-512x512.py",
    "mmseg::stdc/stdc1_4xb12-80k_cityscapes-512x1024.py",
    "mmseg::san/san-vit-b16_voc12aug-640x640.py",
    "mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py",
    "mmseg::knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py",
    "mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py",
    "mmseg::unet/unet-s5-d16_fcn_4xb4-40k_chase-db1-128x128.py",
    "mmseg::bisenetv2/bisenetv2_fcn_4xb4-ohem-160k_cityscapes-1024x1024.py",
    "mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py",
]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "shapes"
    return write_shapes_dataset(root, num_train=4, num_val=2, size=(64, 64), seed=0)


@pytest.fixture
def cfg(repo: Path, shapes: Path) -> Config:
    """A sound segmentation config; each test makes one mistake in it."""
    cfg = Config.fromfile(repo / "configs/_base_/datasets/shapes_semantic.py")
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = str(shapes)
    head = dict(type="FCNHead", in_channels=8, channels=8, num_classes=10)
    cfg.merge_from_dict(
        dict(
            default_scope="mmseg",
            model=dict(type="EncoderDecoder", backbone=dict(type="ResNet"), decode_head=head),
            optim_wrapper=dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.1)),
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=2),
            val_cfg=dict(type="ValLoop"),
            default_hooks=dict(timer=dict(type="IterTimerHook")),
            param_scheduler=[dict(type="PolyLR", power=0.9)],
        )
    )
    return cfg


@pytest.fixture
def detection(repo: Path, shapes: Path) -> Config:
    """A sound instance segmentation config."""
    cfg = Config.fromfile(repo / "configs/_base_/datasets/shapes_instance.py")
    for split in ("train", "val"):
        cfg[f"{split}_dataloader"].dataset.data_root = f"{shapes}/"
    cfg.val_evaluator.ann_file = str(shapes / "annotations/instances_val.json")
    heads = dict(
        bbox_head=dict(type="Shared2FCBBoxHead", num_classes=6),
        mask_head=dict(type="FCNMaskHead", num_classes=6),
    )
    cfg.merge_from_dict(
        dict(default_scope="mmdet", model=dict(type="MaskRCNN", roi_head=heads)),
    )
    return cfg


def refusal(cfg: Config, kind: type[Exception] = ConfigError) -> str:
    with pytest.raises(kind) as caught:
        preflight(cfg)
    return re.sub(r"\s+", " ", str(caught.value))


# --- sound configs -------------------------------------------------------------------------------


def test_sound_configs_pass_with_a_report(cfg: Config, detection: Config):
    assert [r.entries for r in preflight(cfg)] == [4, 2]
    assert [r.unit for r in preflight(detection)] == ["instances", "instances"]


def test_the_config_is_left_as_it_is(cfg: Config):
    before = cfg.pretty_text
    preflight(cfg)
    assert cfg.pretty_text == before


def test_the_function_is_found_whatever_was_imported_before():
    """A module of the function's name would hide it after its first import."""
    import mmattn.preflight
    import mmattn.preflight.run

    assert callable(mmattn.preflight.preflight)


def test_a_table_is_logged_when_asked(cfg: Config, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, logger="mmattn"):
        preflight(cfg, table=True)
    assert "train_dataloader.dataset (ShapesDataset): 4 images" in caplog.text
    assert "grass" in caplog.text


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim_wraper", "optim_wrapper"),
        ("train_dataloder", "train_dataloader"),
        ("defualt_hooks", "default_hooks"),
        ("param_schedulers", "param_scheduler"),
        ("val_evalutor", "val_evaluator"),
        ("custom_hook", "custom_hooks"),
        ("load_form", "load_from"),
        ("modle", "model"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_meant(cfg: Config, key: str, meant: str):
    """mmengine reads known keys only: the misspelt one would change nothing, silently."""
    cfg[key] = dict(type="X")
    text = refusal(cfg)
    assert f"nothing reads the key {key!r}" in text and f"Did you mean {meant!r}?" in text


def test_outdated_configs_are_told_what_took_their_place():
    with pytest.raises(ConfigError, match="data is now train_dataloader"):
        check_keys(dict(model=dict(type="X"), data=dict(train=dict()), lr_config=dict()))


def test_settings_that_nothing_uses_are_a_warning(cfg: Config, caplog: pytest.LogCaptureFixture):
    """Among them the pipeline that a child config changed without wiring it in."""
    cfg.train_pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(9, 9))]
    cfg.crop_size = (64, 64)
    cfg.norm_cfg = dict(type="SyncBN")
    cfg.model.backbone.norm_cfg = dict(type="SyncBN", requires_grad=True)
    assert check_keys(cfg) == ["train_pipeline"]
    assert "nothing uses train_pipeline" in caplog.text


def test_a_pipeline_is_not_used_because_its_steps_occur_in_another(cfg: Config):
    """Each step is one of the pipeline that is used, which has another step between them."""
    used = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(9, 9))]
    cfg.train_dataloader = dict(dataset=dict(pipeline=[used[0], dict(type="Pad"), used[1]]))
    cfg.train_pipeline = used
    assert check_keys(cfg) == ["train_pipeline"]
    cfg.train_dataloader.dataset.pipeline = [*used, dict(type="PackSegInputs")]
    assert check_keys(cfg) == []


def test_what_a_base_leaves_unused_is_not_the_user_s(tmp_path: Path):
    (tmp_path / "base.py").write_text("model = dict(type='X')\nnorm_cfg = dict(type='BN')\n")
    mine = tmp_path / "mine.py"
    mine.write_text("_base_ = ['base.py']\nhead = dict(type='Y')\n")
    assert check_keys(Config.fromfile(mine), str(mine)) == ["head"]


# --- types ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name", "parts"),
    [
        ("model.type", "EncoderDecodr", ("not a registered model", "'EncoderDecoder'")),
        ("model.backbone.type", "ResNett", ("'ResNet'",)),
        ("model.decode_head.type", "CrissCrosAttention", ("'mmattn.CrissCrossAttention'",)),
        ("model.decode_head.type", "mmdet.RTMDett", ("'mmdet.RTMDet'",)),
        ("model.decode_head.type", "RTMDet", ("'mmdet.RTMDet'",)),
        ("model.type", "mmdett.RTMDet", ("'mmdett' is not installed", "'mmdet'")),
        ("train_dataloader.dataset.type", "ShapesDataset", ("data", "'mmattn.ShapesDataset'")),
        ("train_dataloader.dataset.pipeline.4.type", "RandomFlop", ("transform", "'RandomFlip'")),
        ("train_dataloader.sampler.type", "InfinitSampler", ("sampler", "'InfiniteSampler'")),
        ("optim_wrapper.optimizer.type", "AdmaW", ("optimizer", "'AdamW'")),
        ("optim_wrapper.type", "OptimWraper", ("optim", "'OptimWrapper'")),
        ("default_hooks.timer.type", "IterTimeHook", ("hook", "'IterTimerHook'")),
        ("param_scheduler.0.type", "PolyRL", ("parameter scheduler", "'PolyLR'")),
        ("val_evaluator.type", "IouMetric", ("metric", "'IoUMetric'")),
        ("train_cfg.type", "IterTrainLoop", ("loop", "'IterBasedTrainLoop'")),
        # Registered, but not as what this place needs.
        ("train_dataloader.dataset.type", "EncoderDecoder", ("not a registered dataset",)),
    ],
)
def test_an_unknown_type_is_refused_with_the_nearest(
    cfg: Config, key: str, name: str, parts: tuple
):
    cfg.merge_from_dict({key: name})
    place = re.sub(r"\.(\d+)", r"[\1]", key)
    text = refusal(cfg)
    assert f"{place}={name!r}" in text
    for part in parts:
        assert part in text


def test_types_of_splits_that_do_not_run_are_left_alone(cfg: Config):
    cfg.test_evaluator.type = "IouMetric"
    preflight(cfg, splits=("train", "val"))
    with pytest.raises(ConfigError, match="test_evaluator"):
        preflight(cfg, splits=("test",))


# --- arguments and numbers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "parts"),
    [
        ("train_cfg.max_iter", 100, ("'max_iter' for IterBasedTrainLoop", "'max_iters'")),
        ("model.decode_haed", dict(), ("'decode_haed' for EncoderDecoder", "'decode_head'")),
        ("model.backbone.stryles", (1,), ("for ResNet", "'strides'")),
        ("model.decode_head.num_clases", 3, ("for FCNHead", "'num_classes'")),
        ("train_dataloader.bacth_size", 4, ("a dataloader", "'batch_size'")),
        ("train_dataloader.sampler.shufle", True, ("for InfiniteSampler", "'shuffle'")),
        ("train_dataloader.dataset.data_rot", "x", ("'data_root'",)),
        ("train_dataloader.dataset.pipeline.4.probb", 1, ("for RandomFlip", "'prob'")),
        ("optim_wrapper.optimiser", dict(), ("for OptimWrapper", "'optimizer'")),
        ("optim_wrapper.optimizer.momentun", 0.9, ("for SGD", "'momentum'")),
        ("param_scheduler.0.powr", 0.9, ("for PolyLR", "'power'")),
        ("default_hooks.chekpoint", dict(interval=1), ("default_hooks", "'checkpoint'")),
        ("default_hooks.logger", dict(type="LoggerHook", intervall=5), ("'interval'",)),
        ("val_evaluator.iou_metric", ["mIoU"], ("'iou_metrics'",)),
        ("randomness", dict(sead=1), ("'seed'",)),
    ],
)
def test_an_argument_that_nothing_takes_is_refused(cfg: Config, key: str, value, parts: tuple):
    cfg.merge_from_dict({key: value})
    text = refusal(cfg)
    place = re.sub(r"\.(\d+)", r"[\1]", key)
    assert f"{place}" in text and "unexpected argument" in text
    for part in parts:
        assert part in text


def test_everything_that_is_wrong_is_told_at_once(cfg: Config):
    cfg.merge_from_dict(
        {
            "train_cfg.max_iter": 100,
            "model.decode_haed": dict(),
            "train_dataloader.batch_size": "four",
            "optim_wraper": dict(),
            "model.backbone.type": "ResNett",
            "optim_wrapper.optimizer.lr": float("nan"),
        }
    )
    text = refusal(cfg)
    assert "6 settings are wrong" in text
    for part in (
        *("'max_iters'", "'decode_head'", "train_dataloader.batch_size='four'"),
        *("'optim_wrapper'", "'ResNet'", "optim_wrapper.optimizer.lr=nan"),
    ):
        assert part in text


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("train_cfg.max_iters", 0, "nothing would be trained"),
        ("train_cfg.max_iters", -3, "a whole number from 1 on"),
        ("train_cfg.max_iters", 2.5, "a whole number"),
        ("train_cfg.max_iters", float("inf"), "a whole number"),
        ("train_cfg.val_interval", 0, "a whole number from 1 on"),
        ("train_cfg.val_interval", -1, "a whole number from 1 on"),
        ("train_dataloader.batch_size", 0, "at least one image"),
        ("train_dataloader.batch_size", "four", "not a number"),
        ("val_dataloader.batch_size", -1, "at least one image"),
        ("train_dataloader.num_workers", -1, "a whole number from 0 on"),
        ("default_hooks.checkpoint", dict(type="CheckpointHook", interval=0), "from 1 on"),
        ("default_hooks.checkpoint", dict(type="CheckpointHook", interval=-5), "from 1 on"),
        ("default_hooks.logger", dict(type="LoggerHook", interval=0), "from 1 on"),
        ("optim_wrapper.optimizer.lr", float("nan"), "no finite number"),
        ("optim_wrapper.optimizer.lr", float("inf"), "no finite number"),
        ("optim_wrapper.optimizer.lr", -0.1, "a number above 0"),
        ("optim_wrapper.optimizer.lr", 0, "nothing would be learnt"),
        ("optim_wrapper.optimizer.lr", "fast", "not a number"),
        ("optim_wrapper.optimizer.weight_decay", float("nan"), "no finite number"),
        ("optim_wrapper.accumulative_counts", 0, "from 1 on"),
        ("optim_wrapper.clip_grad", dict(max_norm=-1.0), "a number above 0"),
        ("param_scheduler.0.power", float("nan"), "no finite number"),
    ],
)
def test_numbers_of_a_training_that_does_nothing(cfg: Config, key: str, value, told: str):
    cfg.merge_from_dict({key: value})
    place = re.sub(r"\.(\d+)", r"[\1]", key)
    text = refusal(cfg)
    assert place in text and told in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train_cfg.max_iters", 2.0),  # --cfg-options ...=2e0
        ("default_hooks.checkpoint", dict(type="CheckpointHook", interval=-1, save_best="mIoU")),
        ("optim_wrapper.clip_grad", dict(max_norm=float("inf"))),
        ("optim_wrapper.clip_grad", None),
        ("train_dataloader.num_workers", 0),
    ],
)
def test_unusual_numbers_that_mean_something_pass(cfg: Config, key: str, value):
    cfg.merge_from_dict({key: value})
    preflight(cfg)


# --- upstream's own idioms -----------------------------------------------------------------------

IDIOMS = {
    "a dataset of its own": """
        train_dataset = dict(dataset=dict(ann_file='a.json', metainfo=dict(classes=('a', ))))
        train_dataloader = dict(batch_size=2, dataset=train_dataset)
    """,
    "through another variable": """
        img_norm = dict(mean=[0, 0, 0])
        train_pipeline = [dict(type='LoadImageFromFile'), dict(type='Normalize', **img_norm)]
        train_dataset = dict(dataset=dict(pipeline=train_pipeline))
        train_dataloader = dict(dataset=train_dataset)
    """,
    "a change afterwards": """
        extra = dict(type='Pad', size=(64, 64))
        train_dataloader = dict(batch_size=2)
        train_dataloader['dataset'] = dict(note=extra)
    """,
    "taken from the base and changed": """
        train_pipeline = _base_.train_pipeline
        train_pipeline[0] = dict(type='LoadImageFromFile', backend_args=None)
        train_dataloader = dict(dataset=dict(dataset=dict(note=train_pipeline)))
    """,
}


@pytest.mark.parametrize("name", IDIOMS)
def test_a_variable_that_the_file_uses_is_no_alarm(name: str, tmp_path: Path, caplog):
    from textwrap import dedent

    file = tmp_path / "mine.py"
    base = "_base_ = ['mmdet::yolox/yolox_nano_8xb8-300e_coco.py']\n"
    file.write_text(base + dedent(IDIOMS[name]))
    assert check_keys(Config.fromfile(file), str(file)) == []
    assert not caplog.records


def test_a_block_that_the_file_leaves_unused_is_still_told(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "_base_ = ['mmdet::yolox/yolox_nano_8xb8-300e_coco.py']\n"
        "inner = dict(ann_file='a.json')\ntrain_dataset = dict(dataset=inner)\n"
        "train_dataloader = dict(batch_size=2)\n"
    )
    assert check_keys(Config.fromfile(file), str(file)) == ["train_dataset", "inner"]


# --- number of classes ---------------------------------------------------------------------------


def test_a_head_with_another_number_of_classes(cfg: Config):
    cfg.model.decode_head.num_classes = 19
    text = refusal(cfg)
    assert "model.decode_head.num_classes=19, but train_dataloader.dataset has 10 classes" in text
    assert "model.decode_head.num_classes=10" in text and "circle, square" in text


def test_number_of_classes_is_told_without_any_data(cfg: Config):
    cfg.model.decode_head.num_classes = 19
    cfg.train_dataloader.dataset.data_root = "nowhere"
    assert "num_classes=19" in refusal(cfg)


def test_every_head_of_a_list_is_looked_at(cfg: Config):
    aux = dict(type="FCNHead", num_classes=10)
    cfg.model.auxiliary_head = [aux, dict(aux, num_classes=9)]
    assert "model.auxiliary_head[1].num_classes=9" in refusal(cfg)


def test_class_weights_have_one_entry_per_class(cfg: Config):
    cfg.model.decode_head.loss_decode = dict(type="CrossEntropyLoss", class_weight=[1.0] * 11 + [2])
    said = refusal(cfg)
    assert "loss_decode.class_weight has 12 weights, but the head has 10 classes: give one" in said
    plain, wrong = dict(type="CrossEntropyLoss"), dict(type="CrossEntropyLoss", class_weight=[1.0])
    cfg.model.decode_head.loss_decode = [plain, wrong]
    assert "loss_decode[1].class_weight has 1 weight, but" in refusal(cfg)
    cfg.model.decode_head.loss_decode = plain
    cfg.model.decode_head.class_weight = [1.0] * 5  # as BEVANet's head has them
    assert "decode_head.class_weight has 5 weights, but" in refusal(cfg)


def test_two_stage_heads(detection: Config):
    detection.model.roi_head.mask_head.num_classes = 80
    assert "model.roi_head.mask_head.num_classes=80" in refusal(detection)


def test_train_and_val_must_have_the_heads_classes(detection: Config):
    """The usual slip: metainfo was set for training alone, so val falls back to COCO's 80."""
    del detection.val_dataloader.dataset["metainfo"]
    assert "val_dataloader.dataset has 80 classes" in refusal(detection)


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (dict(num_things_classes=6, num_stuff_classes=4), None),
        (dict(num_things_classes=80, num_stuff_classes=4), "num_things_classes=80"),
        (dict(num_things_classes=6, num_stuff_classes=53), "num_stuff_classes=53"),
    ],
)
def test_things_and_stuff_are_counted_apart(counts: dict, told: str | None):
    weights = dict(class_weight=[1.0] * (sum(counts.values()) + 1))
    model = dict(panoptic_head=dict(**counts, loss_cls=weights))
    meta = dict(classes="abcdefghij", thing_classes="abcdef", stuff_classes="ghij")
    datasets = [("train_dataloader.dataset", "CocoPanopticDataset", meta)]
    if told is None:
        check_class_counts(model, datasets)
    else:
        with pytest.raises(ConfigError, match=told):
            check_class_counts(model, datasets)


def test_things_and_stuff_that_the_dataset_does_not_tell_apart():
    model = dict(panoptic_head=dict(num_things_classes=80, num_stuff_classes=53))
    said = r"panoptic_head: num_things_classes \+ num_stuff_classes = 133, but d has 3 classes"
    with pytest.raises(ConfigError, match=said) as error:
        check_class_counts(model, [("d", "CocoPanopticDataset", dict(classes="abc"))])
    assert "-50" not in str(error.value)
    check_class_counts(model, [("d", "CocoPanopticDataset", dict(classes=["a"] * 133))])


# --- masks ---------------------------------------------------------------------------------------


TWO_STAGES = dict(
    type="FasterRCNN",
    roi_head=dict(
        type="StandardRoIHead",
        bbox_head=dict(type="Shared2FCBBoxHead", num_classes=6),
    ),
)


@pytest.mark.parametrize(
    "model", [TWO_STAGES, dict(type="FCOS", bbox_head=dict(type="FCOSHead", num_classes=6))]
)
def test_masks_are_not_asked_of_a_model_of_boxes(detection: Config, model: dict):
    detection.model = model
    text = refusal(detection)
    assert "val_evaluator.metric=['bbox', 'segm']" in text and "no mask_head" in text
    assert "Set val_evaluator.metric=bbox" in text
    detection.val_evaluator.metric = "bbox"
    preflight(detection)


@pytest.mark.parametrize(
    "model",
    [
        dict(type="RTMDet", bbox_head=dict(type="RTMDetInsHead", num_classes=6)),
        dict(
            type="YOLACT", bbox_head=dict(type="YOLACTHead"), mask_head=dict(type="YOLACTProtonet")
        ),
        TWO_STAGES | dict(type="MyDetector"),  # it may do anything
    ],
)
def test_masks_may_be_asked_of_all_others(model: dict):
    enter_scope(Config(dict(default_scope="mmdet")))
    check_mask_metrics(model, dict(type="CocoMetric", metric=["bbox", "segm"]), "val_evaluator")


# --- data ----------------------------------------------------------------------------------------


def test_missing_data_is_a_data_error(cfg: Config):
    cfg.val_dataloader.dataset.data_root = "nowhere/shapes"
    text = refusal(cfg, DataError)
    assert "val_dataloader.dataset.data_root='nowhere/shapes'" in text


def test_the_metric_s_own_file_must_exist(detection: Config):
    detection.val_evaluator.ann_file = "data/coco/annotations/instances_val2017.json"
    assert "val_evaluator.ann_file='data/coco/" in refusal(detection, DataError)


# --- upstream ------------------------------------------------------------------------------------


def check_upstream(name: str) -> None:
    """Keys, types and class counts; only what truly cannot be built may be refused."""
    from mmengine.registry import DATASETS

    from mmattn.config.walk import leaf_datasets

    cfg = Config.fromfile(find_config(name))
    cfg.setdefault("default_scope", name.partition(":")[0])  # some are bases of others
    check_keys(cfg)
    enter_scope(cfg)
    expected = [text for start, text in WRONG_UPSTREAM.items() if name.startswith(start)]
    for problem in argument_problems(cfg, ("train", "val", "test")):
        assert expected and expected[0] in problem, f"{name}: {problem}"
    assert schedule_problems(cfg, ("train", "val", "test")) == []
    try:
        check_types(cfg, ("train", "val", "test"))
    except ConfigError as error:
        expected = [text for key, text in UNBUILDABLE.items() if key in str(error)]
        assert expected and expected[0] in str(error)
    for split in ("train", "val"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
        if not dataset or "model" not in cfg:
            continue
        found = []
        for where, leaf in leaf_datasets(dataset, split):
            with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
                kind = registry.get(leaf.type)
            found.append((where, kind.__name__, kind._load_metainfo(leaf.get("metainfo"))))
        check_class_counts(cfg.model, found)
        check_mask_metrics(cfg.model, cfg.get(f"{split}_evaluator"), split)


@pytest.mark.parametrize("name", SAMPLE)
def test_upstream_configs_pass(name: str):
    check_upstream(name)


@pytest.mark.slow
@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_every_upstream_config_passes(package: str):
    root = find_config(f"{package}::_base_/default_runtime.py").parents[1]
    names = [p.relative_to(root) for p in sorted(root.rglob("*.py")) if "_base_" not in p.parts]
    read = 0
    for name in names:
        try:
            Config.fromfile(root / name)
        except (FileNotFoundError, ImportError):
            continue  # a missing base, or a package that is not installed
        check_upstream(f"{package}::{name}")
        read += 1
    assert read > 600


def test_the_config_that_a_run_leaves_is_not_told_to_have_unused_settings(
    tmp_path: Path, caplog
) -> None:
    """mmengine marks inherited variables by ``_scope_``, and not the place where they are used."""
    (tmp_path / "left.py").write_text(
        "vis_backends = [dict(_scope_='mmdet', type='LocalVisBackend')]\n"
        "visualizer = dict(_scope_='mmdet', type='DetLocalVisualizer',\n"
        "    vis_backends=[dict(type='LocalVisBackend')])\n"
        "other = [dict(type='LocalVisBackend', x=1)]\n"
    )
    cfg = load_config(tmp_path / "left.py")
    assert check_keys(cfg, cfg.filename) == ["other"]
