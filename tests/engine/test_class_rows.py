"""Promise: fine-tuning starts each class from the row of its name, in heads of every sort."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from mmattn.config import load_config
from mmattn.engine import train
from mmattn.engine.class_rows import keep_rows_by_name
from mmattn.inference import build_model
from tests.support.box_folders import write_voc

OLD = ("car", "dog", "cow", "cat", "bus")
NEW = ("cow", "owl", "car")


def yolox(count: int) -> Config:
    cfg = load_config("mmdet::yolox/yolox_tiny_8xb8-300e_coco.py")
    cfg.model.backbone.update(deepen_factor=0.33, widen_factor=0.125)
    cfg.model.neck.update(in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1)
    cfg.model.bbox_head.update(num_classes=count, in_channels=32, feat_channels=8)
    return cfg


def faster_rcnn(count: int) -> Config:
    cfg = load_config("mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py")
    cfg.model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    cfg.model.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    cfg.model.rpn_head.update(in_channels=8, feat_channels=8)
    cfg.model.roi_head.bbox_roi_extractor.out_channels = 8
    cfg.model.roi_head.bbox_head.update(num_classes=count, in_channels=8, fc_out_channels=16)
    return cfg


def segmentor(count: int) -> Config:
    cfg = load_config("mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py")
    cfg.model.backbone.update(base_channels=8, stem_channels=8)
    cfg.model.decode_head.update(num_classes=count, in_channels=64, channels=8)
    cfg.model.auxiliary_head.update(num_classes=count, in_channels=32, channels=8)
    return cfg


def retinanet(count: int) -> Config:
    cfg = load_config("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py")
    cfg.model.backbone.update(base_channels=8, init_cfg=None)
    cfg.model.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    cfg.model.bbox_head.update(num_classes=count, in_channels=8, feat_channels=8)
    return cfg


def pair(make: Callable[[int], Config], names: tuple[str, ...] = NEW) -> tuple[nn.Module, ...]:
    """A model of the old classes, one of the new ones that starts from it, and the report."""
    torch.manual_seed(0)
    models, configs = [], []
    for classes in (OLD, names):
        cfg = make(len(classes))
        init_default_scope(cfg.default_scope)
        configs.append(cfg)
        model = build_model(cfg)
        for weight in model.parameters():
            nn.init.normal_(weight.data, std=0.5)
        models.append(model.double().eval())
    old, new = models
    meta = {"dataset_meta": {"classes": OLD}}
    checkpoint: dict[str, Any] = {"state_dict": deepcopy(old.state_dict()), "meta": meta}
    report = keep_rows_by_name(checkpoint, new, configs[1], {"classes": names}, "old.pth")
    missing, unexpected = new.load_state_dict(checkpoint["state_dict"], strict=False)
    assert not missing and not unexpected
    return old, new, report


def same_scores(old: torch.Tensor, new: torch.Tensor, names: tuple[str, ...] = NEW) -> None:
    """Scores along the last dimension are equal for each common name, and only there."""
    for label, name in enumerate(names):
        if name in OLD:
            torch.testing.assert_close(new[..., label], old[..., OLD.index(name)])
        else:
            assert not any(torch.allclose(new[..., label], old[..., i]) for i in range(len(OLD)))


def test_yolox() -> None:
    old, new, report = pair(yolox)
    assert (report.kept, report.new, report.unused) == (
        ["cow", "car"], ["owl"], ["dog", "cat", "bus"])  # fmt: skip
    assert len(report.mapped) == 6  # weight and bias of three levels
    image = torch.rand(1, 3, 64, 64).double()
    with torch.no_grad():
        scores = [m(image)[0] for m in (old, new)]
    for level in range(3):
        same_scores(*(s[level].movedim(1, -1) for s in scores))


def test_faster_rcnn_with_background_and_boxes_of_each_class() -> None:
    old, new, report = pair(faster_rcnn)
    assert sorted(report.mapped) == [
        f"roi_head.bbox_head.{layer}.{part}"
        for layer in ("fc_cls", "fc_reg") for part in ("bias", "weight")
    ]  # fmt: skip
    features = torch.rand(5, 8, 7, 7).double()
    with torch.no_grad():
        (old_cls, old_box), (new_cls, new_box) = (
            m.roi_head.bbox_head(features) for m in (old, new)
        )
    assert new_cls.shape == (5, len(NEW) + 1)
    same_scores(old_cls, new_cls)
    torch.testing.assert_close(new_cls[:, -1], old_cls[:, -1])  # background
    same_scores(old_box.view(5, -1, 4).movedim(1, -1), new_box.view(5, -1, 4).movedim(1, -1))


def test_anchors_each_have_all_classes() -> None:
    old, new, report = pair(retinanet)
    assert sorted(report.mapped) == ["bbox_head.retina_cls.bias", "bbox_head.retina_cls.weight"]
    image = torch.rand(1, 3, 64, 64).double()
    with torch.no_grad():
        scores = [m(image)[0][0] for m in (old, new)]
    same_scores(*(s.unflatten(1, (9, -1)).movedim(2, -1) for s in scores))


def test_segmentation() -> None:
    old, new, report = pair(segmentor)
    assert "decode_head.conv_seg.weight" in report.mapped
    assert "auxiliary_head.conv_seg.bias" in report.mapped
    image = torch.rand(1, 3, 32, 32).double()
    with torch.no_grad():
        scores = [m(image).movedim(1, -1) for m in (old, new)]
    same_scores(*scores)


def yolov12(count: int) -> Config:
    cfg = load_config("mmattn::yolov12/yolov12-n_8xb32-600e_coco.py")
    cfg.model.bbox_head.num_classes = count
    return cfg


def loaded(old: tuple[str, ...], new: tuple[str, ...], **head: Any) -> tuple[nn.Module, ...]:
    """A YOLOv12-N of the classes ``old``, one of ``new`` that starts from it, and the report."""
    torch.manual_seed(0)
    cfg = yolov12(len(new))
    cfg.model.bbox_head.update(head)
    init_default_scope("mmdet")
    models = [build_model(one) for one in (yolov12(len(old)), cfg)]
    for model in models:
        for weight in model.bbox_head.parameters():
            nn.init.normal_(weight.data, std=0.5)
    meta = {"dataset_meta": {"classes": old}}
    checkpoint: dict[str, Any] = {"state_dict": dict(models[0].state_dict()), "meta": meta}
    report = keep_rows_by_name(checkpoint, models[1], cfg, {"classes": new}, "old.pth")
    models[1].load_state_dict(checkpoint["state_dict"], strict=False)
    return *models, report


def test_hidden_channels_as_many_as_classes_are_no_classes() -> None:
    """YOLOv12-N of 65 to 99 classes has as many hidden channels in its class branches."""
    names = tuple(f"class {i}" for i in range(70))
    old, new, report = loaded(names, names[::-1])
    assert len(report.mapped) == 6 and not report.initial
    for branch, other in zip(
        old.bbox_head.class_branches, new.bbox_head.class_branches, strict=True
    ):
        for part in (0, 1):
            for a, b in zip(branch[part].parameters(), other[part].parameters(), strict=True):
                assert torch.equal(a, b), "the layers before the last are as they were"
        assert torch.equal(branch[2].weight, other[2].weight.flip(0))


def test_a_class_branch_of_another_width_starts_anew_and_says_so() -> None:
    names = tuple(f"class {i}" for i in range(80))
    _, new, report = loaded(names, names[:3])
    assert (new.bbox_head.class_channels, report.kept, report.mapped) == (64, [], [])
    assert report.new == list(names[:3]) and "3 new" in str(report)
    assert "80 channels wide in the checkpoint and 64 here" in str(report)
    assert "model.bbox_head.class_channels=80 keeps them" in str(report)

    old, new, report = loaded(names, names[:3], class_channels=80)
    assert report.kept == list(names[:3]) and not report.initial and not report.notes
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        scores = [m.eval()(image)[0] for m in (old, new)]
    for a, b in zip(*scores, strict=True):
        torch.testing.assert_close(b, a[:, :3])


def test_as_many_classes_in_another_order_are_not_taken_by_position() -> None:
    """Shapes are equal, so that a plain load would train each class from another one's row."""
    names = ("bus", "cat", "owl", "dog", "car")
    old, new, report = pair(yolox, names)
    assert report.new == ["owl"]
    image = torch.rand(1, 3, 64, 64).double()
    with torch.no_grad():
        scores = [m(image)[0][0].movedim(1, -1) for m in (old, new)]
    same_scores(*scores, names)


def test_nothing_is_done_without_names_or_with_the_same() -> None:
    cfg = yolox(3)
    init_default_scope("mmdet")
    model = build_model(cfg)
    for meta in ({}, {"dataset_meta": {"classes": NEW}}):
        checkpoint = {"state_dict": model.state_dict(), "meta": meta}
        before = checkpoint["state_dict"]
        assert keep_rows_by_name(checkpoint, model, cfg, {"classes": NEW}, "a.pth") is None
        assert checkpoint["state_dict"] is before


@pytest.mark.slow
def test_a_training_says_what_it_keeps(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("logging.raiseExceptions", False)
    root = write_voc(tmp_path / "d", train=2, val=1)
    cfg = yolox(5)
    init_default_scope("mmdet")
    model = build_model(cfg)
    torch.manual_seed(1)
    for weight in model.parameters():
        nn.init.normal_(weight.data, std=0.1)
    names = ("rod", "x", "cell", "y", "z")
    path = tmp_path / "old.pth"
    meta = {"dataset_meta": {"classes": names}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, path)
    file = tmp_path / "small.py"
    cfg.load_from = None
    cfg.dump(str(file))
    runner = train(
        file,
        work_dir=str(tmp_path / "run"),
        cfg_options={
            "data": str(root), "load_from": str(path), "train_cfg.max_epochs": 1,
            "train_dataloader.batch_size": 2, "train_dataloader.num_workers": 0,
            "train_dataloader.persistent_workers": False, "val_dataloader.num_workers": 0,
            "val_dataloader.persistent_workers": False, "optim_wrapper.optimizer.lr": 1e-20,
            "model.data_preprocessor.batch_augments": None,
        },
    )  # fmt: skip
    shown = " ".join(capsys.readouterr().out.split())
    assert "rows of 2 classes (cell, rod) kept by name, 1 new (dot)" in shown
    assert "bbox_head.num_classes=3; compared by ClasswiseCocoMetric" in shown
    head, old = runner.model.bbox_head, model.bbox_head
    for new_layer, old_layer in zip(
        head.multi_level_conv_cls, old.multi_level_conv_cls, strict=True
    ):
        torch.testing.assert_close(new_layer.weight[0], old_layer.weight[2])  # cell
        torch.testing.assert_close(new_layer.weight[2], old_layer.weight[0])  # rod
