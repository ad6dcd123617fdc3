"""Lint finds each mistake at its file and line, and is quiet where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.config_tools.lint import RULES, lint
from mmattn.errors import ConfigError, MissingPackageError
from tests.support.sampled_configs import sample_of

ROOT = Path(__file__).resolve().parents[2]
FCN = "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py"

#: Rule -> a child of an FCN that breaks it, and the line of the mistake.
MISTAKES = {
    "key": ("train_dataloder = dict(batch_size=4)", 2),
    "type": ("model = dict(\n    backbone=dict(\n        type='ResNetV1q'))", 4),
    "argument": ("train_dataloader = dict(\n    batchsize=4)", 3),
    "number": ("train_cfg = dict(\n    max_iters=0)", 3),
    "structure": ("val_evaluator = None", 2),
    "class-count": ("model = dict(\n    decode_head=dict(\n        num_classes=21))", 4),
    "channels": ("model = dict(\n    decode_head=dict(in_channels=1024))", 3),
    "crop-size": ("model = dict(\n    data_preprocessor=dict(size=(512, 512)))", 3),
    "schedule-end": ("train_cfg = dict(max_iters=20000)", 0),
    "unused-variable": ("my_size = (1, 2)", 2),
    "unwired": ("\ntrain_pipeline = [\n    dict(type='LoadImageFromFile')]", 3),
    "path": ("train_dataloader = dict(dataset=dict(\n    data_root='/mnt/nowhere/data'))", 3),
    "duplicate-key": ("model = {'backbone': {'depth': 18,\n    'depth': 50}}", 3),
    "delete": ("model = dict(\n    my_part=dict(_delete_=True, a=1))", 3),
}

#: Rules that are tried by default.
QUICK = ("class-count", "crop-size", "duplicate-key", "unwired")


def test_every_rule_has_a_mistake() -> None:
    assert set(MISTAKES) == set(RULES)


@pytest.mark.parametrize(
    "rule",
    [
        rule if rule in QUICK else pytest.param(rule, marks=pytest.mark.slow)
        for rule in sorted(MISTAKES)
    ],
)
def test_a_mistake_is_found_at_its_line(rule: str, tmp_path: Path) -> None:
    text, line = MISTAKES[rule]
    config = tmp_path / "child.py"
    config.write_text(f"_base_ = '{FCN}'\n{text}\n")
    found = [one for one in lint(config, [rule]) if one.rule == rule]
    assert found
    if line:
        assert (found[0].file, found[0].line) == (config, line), found[0]
    assert str(found[0]).endswith(f"[{rule}]")


def test_a_config_without_mistakes_is_quiet() -> None:
    assert lint(FCN) == []


def test_a_variable_that_is_read_is_no_finding(tmp_path: Path) -> None:
    config = tmp_path / "child.py"
    config.write_text(f"_base_ = '{FCN}'\nlength = 40000\ntrain_cfg = dict(max_iters=length)\n")
    assert lint(config) == []


@pytest.mark.slow
def test_own_configs_are_quiet() -> None:
    found = [one for file in sorted((ROOT / "configs").rglob("*.py")) for one in lint(file)]
    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_configs_of_upstream_are_quiet(package: str) -> None:
    found = []
    for config in sample_of(package, 60):
        try:
            found += lint(config)
        except (ConfigError, MissingPackageError):
            continue  # it cannot be read here
    assert not found, "\n".join(map(str, found))
