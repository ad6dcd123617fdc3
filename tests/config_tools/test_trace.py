"""Where a setting was written: the tracer reads what mmengine reads, with files and lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.config_tools.explain import explain, overridden, stale_uses
from mmattn.config_tools.trace import trace_config
from mmattn.errors import ConfigError, MissingPackageError
from tests.support.sampled_configs import sample_of

BASE = """\
lr = 0.1
crop = (512, 512)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=crop),
]
model = dict(
    type='X',
    neck=dict(type='FPN', out_channels=256, start=0),
    head=dict(type='Y', gone=1),
)
train_dataloader = dict(
    dataset=dict(pipeline=train_pipeline))
"""
CHILD = """\
_base_ = './base.py'
train_pipeline = [
    dict(type='Other'),
]
model = dict(
    neck=dict(out_channels=128,
              lr={{_base_.lr}}),
    head=dict(_delete_=True, type='Z'))
model['extra'] = 3
for _step in train_pipeline:
    _step['seen'] = True
"""
LAZY_BASE = """\
from yaml import SafeLoader
model = dict(type=SafeLoader, neck=dict(out_channels=256, start=0))
train_dataloader = dict(dataset=dict(type='A', old=1))
"""
LAZY_CHILD = """\
from mmengine.config import read_base

with read_base():
    from .base import *

model.update(dict(neck=dict(out_channels=128)))
train_dataloader.merge(dict(dataset=dict(_delete_=True, type='B')))
del model['neck']['start']
"""


@pytest.fixture
def child(tmp_path: Path) -> Path:
    return written(tmp_path, BASE, CHILD)


def written(folder: Path, base: str, child: str) -> Path:
    (folder / "base.py").write_text(base)
    (folder / "child.py").write_text(child)
    return folder / "child.py"


def places(config: Path, key: str, options: dict | None = None) -> list[tuple[str, int, str]]:
    origins = explain(trace_config(config, options), key).origins
    return [
        (o.setting.site.file.name if o.setting.site.file else "", o.setting.site.line, o.lost)
        for o in origins
    ]


def test_every_line_that_set_a_key_is_told_in_order(child: Path) -> None:
    trace = trace_config(child)
    assert trace.untraced == ()
    assert places(child, "model.neck.out_channels") == [("base.py", 9, ""), ("child.py", 6, "")]
    assert explain(trace, "model.neck.out_channels").value == 128
    assert places(child, "model.extra") == [("child.py", 9, "")]
    assert places(child, "train_pipeline.0.seen") == [("child.py", 11, "")]


def test_an_option_wins_and_is_named(child: Path) -> None:
    explanation = explain(trace_config(child, {"model.neck.start": 4}), "model.neck.start")
    assert explanation.value == 4
    assert "the option model.neck.start=4" in str(explanation)


def test_a_variable_of_the_base_is_followed(child: Path) -> None:
    text = str(explain(trace_config(child), "model.neck.lr"))
    assert "child.py:7: model.neck.lr takes _base_.lr, set at" in text
    assert "base.py:1" in text


def test_a_deleted_key_says_who_deleted_it(child: Path) -> None:
    text = str(explain(trace_config(child), "model.head.gone"))
    assert "is not there any more" in text
    assert "child.py:8 set model.head anew with _delete_=True" in text


def test_a_pipeline_that_came_too_late_is_told(child: Path) -> None:
    trace = trace_config(child)
    text = str(explain(trace, "train_pipeline"))
    assert "is read by nothing: train_dataloader.dataset.pipeline was fixed when" in text
    assert "base.py:13 was read" in text
    other = str(explain(trace, "train_dataloader.dataset.pipeline[1].scale"))
    assert "child.py:2 set train_pipeline again, later, which changes nothing here" in other
    assert [use.name for use in stale_uses(trace)] == ["train_pipeline"]


def test_a_missing_key_offers_the_real_ones(child: Path) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'model\.neck\.out_channels'"):
        explain(trace_config(child), "model.neck.out_chanels")


def test_without_a_key_what_differs_from_the_roots_is_listed(child: Path) -> None:
    found = {path: value for path, value, _, _ in overridden(trace_config(child))}
    assert found["model.neck.out_channels"] == 128
    assert "model.neck.type" not in found


def test_the_new_style_is_traced(tmp_path: Path) -> None:
    config = written(tmp_path, LAZY_BASE, LAZY_CHILD)
    assert trace_config(config).untraced == ()
    assert places(config, "model.neck.out_channels") == [("base.py", 2, ""), ("child.py", 6, "")]
    assert places(config, "model.neck.start")[-1] == ("child.py", 8, "")
    assert places(config, "train_dataloader.dataset.old")[-1] == ("child.py", 7, "")


def test_data_configs_have_lines_too(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("model:\n  type: X\n  depth: 50\n")
    (tmp_path / "child.yaml").write_text("_base_: base.yaml\nmodel:\n  depth: 18\n")
    config = tmp_path / "child.yaml"
    assert trace_config(config).untraced == ()
    assert places(config, "model.depth") == [("base.yaml", 3, ""), ("child.yaml", 3, "")]


def test_a_config_of_a_package_is_traced() -> None:
    trace = trace_config("mmdet::retinanet/retinanet_r101_fpn_2x_coco.py")
    assert trace.untraced == ()
    text = str(explain(trace, "param_scheduler.1.milestones"))
    assert "mmdet::_base_/schedules/schedule_1x.py:15" in text
    assert "lost: mmdet::retinanet/retinanet_r50_fpn_2x_coco.py:" in text


@pytest.mark.slow
@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_what_is_traced_is_what_mmengine_reads(package: str) -> None:
    for config in sample_of(package, 60):
        try:
            assert trace_config(config).untraced == (), config
        except (ConfigError, MissingPackageError):
            continue  # mmengine cannot read it either
