"""Wrong configs as generators, each with the words of the error that it has to get.

Each changes one sound config of mmseg (by iterations) or mmdet (by epochs). The checks build
nothing and open no data.
"""

from __future__ import annotations

import functools
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from mmattn.config import load_config

BASES = {
    "seg": "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "det": "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
}
NAN, INF = float("nan"), float("inf")


class DROP:
    """Stands for a key that is taken out."""


@dataclass(frozen=True)
class Fault:
    """One wrong config.

    Attributes:
        base: ``seg`` or ``det``.
        changes: Dotted keys, with indices of lists, and their new values; ``DROP`` removes one.
        words: Regular expression of the error; by default the first key.
        others: Words of the error that stand in any place.
    """

    base: str
    changes: dict[str, Any]
    words: str = ""
    others: tuple[str, ...] = field(default=())

    def config(self) -> Config:
        """Return the wrong config."""
        cfg = sound(self.base)
        for path, value in self.changes.items():
            _set(cfg, path.split("."), value)
        return cfg


@functools.cache
def _loaded(base: str) -> Config:
    return load_config(BASES[base])


def sound(base: str) -> Config:
    """Return a copy of a sound config."""
    return deepcopy(_loaded(base))


def _set(target: Any, steps: list[str], value: Any) -> None:
    step: Any = int(steps[0]) if steps[0].isdigit() else steps[0]
    if len(steps) > 1:
        if not isinstance(step, int) and target.get(step) is None:
            target[step] = {}
        _set(target[step], steps[1:], value)
    elif value is DROP:
        target.pop(step)
    else:
        target[step] = value


def seg(changes: dict[str, Any], words: str = "") -> Fault:
    """Return a wrong config of mmseg."""
    return Fault("seg", changes, words)


def det(changes: dict[str, Any], words: str = "") -> Fault:
    """Return a wrong config of mmdet."""
    return Fault("det", changes, words)


TRAIN = "train_dataloader.dataset"
FAULTS: dict[str, Fault] = {
    # --- loops
    "max_iters 0": seg({"train_cfg.max_iters": 0}),
    "max_iters negative": seg({"train_cfg.max_iters": -3}),
    "max_iters of 400 digits": seg({"train_cfg.max_iters": 10**400}, "a whole number from 1 on"),
    "max_iters text": seg({"train_cfg.max_iters": "40k"}),
    "max_iters half": seg({"train_cfg.max_iters": 0.5}),
    "max_iters missing": seg({"train_cfg.max_iters": DROP}),
    "max_epochs NaN": det({"train_cfg.max_epochs": NAN}),
    "max_epochs list": det({"train_cfg.max_epochs": [12]}),
    "max_epochs missing": det({"train_cfg.max_epochs": DROP}),
    "max_iters of epochs": det({"train_cfg.max_iters": 90000}),
    "max_epochs of iterations": seg({"train_cfg.max_epochs": 12}),
    "val_interval 0": seg({"train_cfg.val_interval": 0}),
    "val_interval text": det({"train_cfg.val_interval": "1"}),
    "val_begin negative": det({"train_cfg.val_begin": -1}),
    "loop of validation": seg({"train_cfg.type": "ValLoop"}),
    "no loop": seg({"train_cfg": DROP}),
    "no training data": seg({"train_dataloader": DROP}),
    "no optimiser": seg({"optim_wrapper": DROP}),
    "validation without data": seg({"val_dataloader": DROP}),
    "validation without metric": seg({"val_evaluator": DROP}),
    "validation without loop": seg({"val_cfg": DROP}),
    # --- loaders
    "batch_size 0": seg({"train_dataloader.batch_size": 0}),
    "batch_size negative": det({"train_dataloader.batch_size": -2}),
    "batch_size text": seg({"train_dataloader.batch_size": "four"}),
    "batch_size 2.5": seg({"val_dataloader.batch_size": 2.5}),
    "batch_size list": seg({"train_dataloader.batch_size": [2]}),
    "batch_size true": seg({"train_dataloader.batch_size": True}),
    "num_workers negative": seg({"train_dataloader.num_workers": -1}),
    "num_workers text": seg({"train_dataloader.num_workers": "2"}),
    "num_workers many": seg({"train_dataloader.num_workers": 100000}),
    "prefetch_factor 0": seg({"train_dataloader.prefetch_factor": 0}),
    "persistent_workers text": seg({"train_dataloader.persistent_workers": "yes"}),
    "no dataset": seg({TRAIN: DROP}),
    "dataset without type": seg({f"{TRAIN}.type": DROP}),
    "dataset empty": seg({TRAIN: {}}),
    "sampler without type": seg({"train_dataloader.sampler": {"shuffle": True}}),
    "shuffle text": seg({"train_dataloader.sampler.shuffle": "yes"}),
    "batch_sampler without type": det({"train_dataloader.batch_sampler": {}}),
    "data_root a number": seg({f"{TRAIN}.data_root": 5}),
    "data_prefix a text": seg({f"{TRAIN}.data_prefix": "images"}),
    "ann_file a list": det({f"{TRAIN}.ann_file": ["a.json"]}),
    "classes a number": det({f"{TRAIN}.metainfo": {"classes": 3}}),
    "classes of numbers": det({f"{TRAIN}.metainfo": {"classes": [1, 2]}}),
    "classes twice": det({f"{TRAIN}.metainfo": {"classes": ["cat", "cat"]}}),
    "metainfo a text": det({f"{TRAIN}.metainfo": "classes.txt"}),
    "unknown argument": det({f"{TRAIN}.dataroot": "x"}, r"'dataroot' for CocoDataset.*'data_root'"),
    # --- pipelines
    "pipeline empty": seg({f"{TRAIN}.pipeline": []}),
    "pipeline none": seg({f"{TRAIN}.pipeline": None}),
    "pipeline a text": seg({f"{TRAIN}.pipeline": "train_pipeline"}),
    "pipeline missing": seg({f"{TRAIN}.pipeline": DROP}),
    "step without type": seg({f"{TRAIN}.pipeline.2.type": DROP}),
    "step a text": seg({f"{TRAIN}.pipeline.2": "Resize"}),
    "step unknown": seg({f"{TRAIN}.pipeline.2.type": "RandomResise"}, "'RandomResize'"),
    "nothing packs": seg({f"{TRAIN}.pipeline.6": DROP}),
    "nothing loads": seg({f"{TRAIN}.pipeline.0": DROP}),
    "loads behind": seg(
        {
            f"{TRAIN}.pipeline.0": {"type": "RandomFlip", "prob": 0.5},
            f"{TRAIN}.pipeline.4": {"type": "LoadImageFromFile"},
        }
    ),
    "prob above 1": seg({f"{TRAIN}.pipeline.4.prob": 1.5}),
    "prob negative": seg({f"{TRAIN}.pipeline.4.prob": -0.5}),
    "prob text": seg({f"{TRAIN}.pipeline.4.prob": "half"}),
    "prob NaN": seg({f"{TRAIN}.pipeline.4.prob": NAN}),
    "scale 0": det({f"{TRAIN}.pipeline.2.scale": (0, 0)}),
    "scale negative": det({f"{TRAIN}.pipeline.2.scale": (1333, -800)}),
    "scale text": det({f"{TRAIN}.pipeline.2.scale": "1333x800"}),
    "scale missing": det({f"{TRAIN}.pipeline.2.scale": DROP}),
    "keep_ratio text": det({f"{TRAIN}.pipeline.2.keep_ratio": "yes"}),
    "crop_size 0": seg({f"{TRAIN}.pipeline.3.crop_size": (0, 512)}),
    "crop_size halves": seg({f"{TRAIN}.pipeline.3.crop_size": (512.5, 512)}),
    "crop_size missing": seg({f"{TRAIN}.pipeline.3.crop_size": DROP}),
    "cat_max_ratio 2": seg({f"{TRAIN}.pipeline.3.cat_max_ratio": 2.0}),
    "ratio_range reversed": seg({f"{TRAIN}.pipeline.2.ratio_range": (2.0, 0.5)}),
    "ratio_range negative": seg({f"{TRAIN}.pipeline.2.ratio_range": (-1, 2.0)}),
    "direction unknown": seg({f"{TRAIN}.pipeline.4.direction": "sideways"}),
    # --- optimiser
    "lr NaN": seg({"optim_wrapper.optimizer.lr": NAN}),
    "lr infinite": seg({"optim_wrapper.optimizer.lr": INF}),
    "lr of 400 digits": seg({"optim_wrapper.optimizer.lr": 10**400}, "is no finite number"),
    "lr negative": seg({"optim_wrapper.optimizer.lr": -0.1}),
    "lr 0": seg({"optim_wrapper.optimizer.lr": 0}),
    "lr text": seg({"optim_wrapper.optimizer.lr": "1e-2"}),
    "lr list": seg({"optim_wrapper.optimizer.lr": [0.1]}),
    "lr none": seg({"optim_wrapper.optimizer.lr": None}),
    "weight_decay negative": seg({"optim_wrapper.optimizer.weight_decay": -0.1}),
    "weight_decay text": seg({"optim_wrapper.optimizer.weight_decay": "0.1"}),
    "momentum 9": seg({"optim_wrapper.optimizer.momentum": 9}),
    "momentum negative": seg({"optim_wrapper.optimizer.momentum": -0.9}),
    "momentum text": seg({"optim_wrapper.optimizer.momentum": "0.9"}),
    "betas above 1": seg({"optim_wrapper.optimizer": {"type": "AdamW", "betas": (0.9, 1.5)}}),
    "betas one": seg({"optim_wrapper.optimizer": {"type": "AdamW", "betas": (0.9,)}}),
    "betas a number": seg({"optim_wrapper.optimizer": {"type": "AdamW", "betas": 0.9}}),
    "eps negative": seg({"optim_wrapper.optimizer": {"type": "AdamW", "eps": -1e-8}}),
    "optimiser without type": seg({"optim_wrapper.optimizer.type": DROP}),
    "optimiser missing": seg({"optim_wrapper.optimizer": DROP}),
    "optimiser unknown": seg({"optim_wrapper.optimizer.type": "Adamw"}, "'AdamW'"),
    "argument of another": seg({"optim_wrapper.optimizer.betas": (0.9, 0.99)}, "'betas' for SGD"),
    "clip_grad a number": seg({"optim_wrapper.clip_grad": 10}),
    "max_norm 0": seg({"optim_wrapper.clip_grad": {"max_norm": 0}}),
    "max_norm text": seg({"optim_wrapper.clip_grad": {"max_norm": "10"}}),
    "clip_grad unknown": seg({"optim_wrapper.clip_grad": {"maxnorm": 10}}, "maxnorm"),
    "accumulative_counts 0": seg({"optim_wrapper.accumulative_counts": 0}),
    "accumulative_counts 1.5": seg({"optim_wrapper.accumulative_counts": 1.5}),
    "paramwise_cfg a number": seg({"optim_wrapper.paramwise_cfg": 2}),
    "paramwise_cfg unknown": seg(
        {"optim_wrapper.paramwise_cfg": {"norm_decay_mul": 0.0}}, "'norm_decay_mult'"
    ),
    "paramwise_cfg text": seg({"optim_wrapper.paramwise_cfg": {"bias_lr_mult": "2"}}),
    "custom_keys a list": seg({"optim_wrapper.paramwise_cfg": {"custom_keys": ["head"]}}),
    "lr_mult negative": seg(
        {"optim_wrapper.paramwise_cfg": {"custom_keys": {"head": {"lr_mult": -10}}}}
    ),
    "constructor unknown": seg({"optim_wrapper.constructor": "LayerDecayConstructor"}),
    # --- schedules
    "end before begin": det({"param_scheduler.1.begin": 12, "param_scheduler.1.end": 8}),
    "end is begin": det({"param_scheduler.1.begin": 8, "param_scheduler.1.end": 8}),
    "begin negative": det({"param_scheduler.1.begin": -1}),
    "begin text": det({"param_scheduler.1.begin": "0"}),
    "milestones empty": det({"param_scheduler.1.milestones": []}),
    "milestones text": det({"param_scheduler.1.milestones": "8, 11"}),
    "milestones negative": det({"param_scheduler.1.milestones": [-8, 11]}),
    "milestones halves": det({"param_scheduler.1.milestones": [8.5]}),
    "milestones missing": det({"param_scheduler.1.milestones": DROP}),
    "gamma NaN": det({"param_scheduler.1.gamma": NAN}),
    "gamma negative": det({"param_scheduler.1.gamma": -0.1}),
    "start_factor 0": det({"param_scheduler.0.start_factor": 0}),
    "start_factor 2": det({"param_scheduler.0.start_factor": 2.0}),
    "by_epoch text": det({"param_scheduler.1.by_epoch": "no"}),
    "scheduler without type": det({"param_scheduler.1.type": DROP}),
    "scheduler unknown": det({"param_scheduler.1.type": "MultistepLR"}, "'MultiStepLR'"),
    "scheduler a text": det({"param_scheduler": "PolyLR"}),
    "T_max 0": det({"param_scheduler.1": {"type": "CosineAnnealingLR", "T_max": 0}}, "T_max=0"),
    "step_size 0": det({"param_scheduler.1": {"type": "StepLR", "step_size": 0}}, "step_size=0"),
    "eta_min NaN": seg({"param_scheduler.0.eta_min": NAN}),
    "power NaN": seg({"param_scheduler.0.power": NAN}),
    "power text": seg({"param_scheduler.0.power": "0.9"}),
    # --- hooks
    "checkpoint interval 0": seg({"default_hooks.checkpoint.interval": 0}),
    "checkpoint interval text": seg({"default_hooks.checkpoint.interval": "4000"}),
    "max_keep_ckpts 0": seg({"default_hooks.checkpoint.max_keep_ckpts": 0}),
    "save_best unknown": seg({"default_hooks.checkpoint.save_best": "mIoUU"}, "'mIoU'"),
    "save_best of another task": det({"default_hooks.checkpoint.save_best": "mIoU"}, "coco/"),
    "save_best a number": seg({"default_hooks.checkpoint.save_best": 1}),
    "rule unknown": seg(
        {"default_hooks.checkpoint.save_best": "mIoU", "default_hooks.checkpoint.rule": "max"},
        r"default_hooks\.checkpoint\.rule",
    ),
    "save_best without validation": seg(
        {
            "default_hooks.checkpoint.save_best": "mIoU",
            "val_cfg": DROP,
            "val_dataloader": DROP,
            "val_evaluator": DROP,
        },
        "save_best",
    ),
    "logger interval 0": seg({"default_hooks.logger.interval": 0}),
    "hook without type": seg({"default_hooks.logger.type": DROP}),
    "hook unknown": seg({"default_hooks.chekpoint": {"type": "CheckpointHook"}}),
    "custom hook without type": seg({"custom_hooks": [{"momentum": 0.1}]}),
    "custom_hooks a dict": seg({"custom_hooks": {"type": "EMAHook"}}),
    "priority unknown": seg({"custom_hooks": [{"type": "EMAHook", "priority": "HIHG"}]}, "'HIGH'"),
    "priority 200": seg({"custom_hooks": [{"type": "EMAHook", "priority": 200}]}),
    "EMA momentum 2": seg({"custom_hooks": [{"type": "EMAHook", "momentum": 2.0}]}),
    "monitor missing": seg({"custom_hooks": [{"type": "EarlyStoppingHook"}]}, "'monitor'"),
    "patience 0": seg(
        {"custom_hooks": [{"type": "EarlyStoppingHook", "monitor": "mIoU", "patience": 0}]}
    ),
    # --- metrics
    "metric without type": seg({"val_evaluator": {"iou_metrics": ["mIoU"]}}),
    "metric unknown": seg({"val_evaluator.type": "IOUMetric"}, "'IoUMetric'"),
    "metric of another": seg({"val_evaluator.iou_metrics": ["mIOU"]}, "'mIoU'"),
    "metric of boxes": det({"val_evaluator.metric": "box"}, "'bbox'"),
    "metrics empty": seg({"val_evaluator": []}),
    "metric file missing": det({"val_evaluator.ann_file": 3}),
    # --- model
    "no model": seg({"model": DROP}),
    "model empty": seg({"model": {}}),
    "model without type": seg({"model.type": DROP}),
    "backbone without type": seg({"model.backbone.type": DROP}),
    "backbone missing": seg({"model.backbone": DROP}),
    "head without type": seg({"model.decode_head.type": DROP}),
    "backbone a text": seg({"model.backbone": "ResNet"}),
    "num_classes 0": seg({"model.decode_head.num_classes": 0}),
    "num_classes negative": det({"model.roi_head.bbox_head.num_classes": -80}),
    "num_classes text": seg({"model.decode_head.num_classes": "nineteen"}),
    "num_classes 1.5": seg({"model.decode_head.num_classes": 1.5}),
    "channels 0": seg({"model.decode_head.channels": 0}),
    "in_channels negative": seg({"model.decode_head.in_channels": -2048}),
    "in_channels text": det({"model.neck.in_channels": ["256", 512, 1024, 2048]}),
    "out_channels text": det({"model.neck.out_channels": "256"}),
    "depth unknown": seg({"model.backbone.depth": 51}, "18, 34, 50, 101, 152"),
    "depth text": seg({"model.backbone.depth": "50"}),
    "out_indices beyond": seg({"model.backbone.out_indices": (0, 1, 2, 9)}),
    "frozen_stages 9": seg({"model.backbone.frozen_stages": 9}),
    "dropout 1.5": seg({"model.decode_head.dropout_ratio": 1.5}),
    "dropout negative": seg({"model.decode_head.dropout_ratio": -0.1}),
    "loss_weight NaN": seg({"model.decode_head.loss_decode.loss_weight": NAN}),
    "loss_weight text": seg({"model.decode_head.loss_decode.loss_weight": "1"}),
    "loss without type": seg({"model.decode_head.loss_decode": {"loss_weight": 1.0}}),
    "std 0": seg({"model.data_preprocessor.std": [0, 1, 1]}),
    "mean of two": seg({"model.data_preprocessor.mean": [1, 2]}),
    "mean text": seg({"model.data_preprocessor.mean": ["123", "116", "103"]}),
    "mean NaN": seg({"model.data_preprocessor.mean": [NAN, 116, 103]}),
    "size negative": seg({"model.data_preprocessor.size": (-512, 1024)}),
    "test mode unknown": seg({"model.test_cfg": {"mode": "hole"}}, "'whole'"),
    "stride 0": seg(
        {"model.test_cfg": {"mode": "slide", "crop_size": (512, 512), "stride": (0, 0)}}
    ),
    "slide without crop": seg({"model.test_cfg": {"mode": "slide"}}),
    "iou threshold 5": det({"model.test_cfg.rcnn.nms.iou_threshold": 5}),
    "iou threshold text": det({"model.test_cfg.rcnn.nms.iou_threshold": "0.5"}),
    "score_thr NaN": det({"model.test_cfg.rcnn.score_thr": NAN}),
    "max_per_img 0": det({"model.test_cfg.rcnn.max_per_img": 0}),
    "misspelt part": det({"model.roi_haed": {}}, "'roi_head'"),
    # --- the run
    "seed negative": seg({"randomness": {"seed": -1}}),
    "seed text": seg({"randomness": {"seed": "zero"}}),
    "seed 1.5": seg({"randomness": {"seed": 1.5}}),
    "deterministic text": seg({"randomness": {"seed": 0, "deterministic": "yes"}}),
    "load_from a number": seg({"load_from": 5}),
    "resume text": seg({"resume": "yes"}),
    "launcher unknown": seg({"launcher": "slrum"}, "'slurm'"),
    "log_level unknown": seg({"log_level": "VERBOSE"}),
    "scope unknown": seg({"default_scope": "mmsegg"}, "'mmseg'"),
    "work_dir a number": seg({"work_dir": 3}),
    "work_dir empty": seg({"work_dir": ""}),
    "start method unknown": seg({"env_cfg.mp_cfg.mp_start_method": "frok"}, "'fork'"),
    "backend unknown": seg({"env_cfg.dist_cfg.backend": "nclc"}, "'nccl'"),
    "base_batch_size 0": det({"auto_scale_lr": {"enable": False, "base_batch_size": 0}}),
    "misspelt section": seg({"optim_wraper": {"type": "OptimWrapper"}}, "'optim_wrapper'"),
}
