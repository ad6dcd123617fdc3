"""Unmodified configs of mmdet and mmseg build, train and predict on the bridge."""

from __future__ import annotations

import math
import socket
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest

from mmattn.errors import MissingOpError
from tests.support.compatibility import recorded_ext_calls, run_case
from tests.support.compatibility_page import installed, shown
from tests.support.compatibility_runs import Limits, run_in_process
from tests.support.no_network import refusing
from tests.support.upstream_configs import (
    ALGORITHMS,
    ALL_CASES,
    BASES,
    CASES,
    FURTHER,
    PROMISED,
    Case,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # mmdet's and mmseg's own


def case_of(name: str) -> Case:
    return next(case for case in CASES if name in case.config)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A config that fetches anything fails."""
    monkeypatch.setattr(socket.socket, "connect", refusing(socket.socket.connect))


# Heavy, and each near to one that stays: RetinaNet, ATSS, PointRend and the like.
HEAVY = (
    *("/dino-4scale", "/solov2_r50", "/cascade-rcnn_r50-dconv", "_8xb2-lsj-50e_coco-panoptic"),
    *("/mask-rcnn_r50", "-carafe_", "/psanet_r50", "/ccnet_r50", "/deeplabv3plus_r50"),
    *("/mask2former_r50_8xb2-90k", "/mask2former_r50_8xb2-lsj-50e_coco.", "/fcn_r50-d8_4xb2-40k"),
    *("/faster-rcnn_r50_fpn_1x", "/deformable-detr_r50_16xb2-50e_coco."),
)


def is_slow(case: Case) -> bool:
    return case in FURTHER or any(name in case.config for name in HEAVY)


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=[pytest.mark.slow] * is_slow(c)) for c in (*PROMISED, *FURTHER)],
    ids=lambda case: f"{case.config[:5]}-{PurePosixPath(case.config).stem}",
)
def test_config_builds_trains_and_predicts(case: Case) -> None:
    outcome = run_case(case)
    assert not outcome.error, outcome.traceback
    assert (outcome.builds, outcome.trains, outcome.predicts) == (True, True, True)
    assert math.isfinite(outcome.loss)
    assert not outcome.unexplained, "no gradient reaches these parameters"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", ALGORITHMS, ids=lambda case: f"{case.config[:5]}-{PurePosixPath(case.config).stem}"
)
def test_a_config_of_every_folder_does_what_the_page_says(case: Case, repo: Path) -> None:
    """In a process of its own; one that needs a package is skipped where it is missing."""
    if "onedl-mmdetection" not in installed():
        pytest.skip("the page is that of the forks")
    told = (repo / "docs" / "compatibility.md").read_text()
    outcome = run_in_process(case, Limits())
    if "MissingPackageError" in outcome.error:
        assert f"`{case.config}` | `{outcome.install}`" in told
        pytest.skip(f"needs {outcome.install}")
    if f"- `{case.config}`: {shown(outcome.error)}" in told.splitlines():
        pytest.xfail(outcome.error)
    assert outcome.works, outcome.traceback
    assert not case.why_not, "it works: take its reason out of the table and write the page again"


@pytest.mark.parametrize("package", ["mmdet", "mmseg"])
def test_the_table_has_a_config_of_every_folder(package: str) -> None:
    if "onedl-mmdetection" not in installed():
        pytest.skip("the table is that of the forks")
    (place,) = find_spec(package).submodule_search_locations
    root = Path(place) / ".mim" / "configs"
    folders = {folder.name for folder in root.iterdir() if folder.is_dir()}
    names = [case.config.split("::") for case in ALL_CASES]
    listed = {path.split("/")[0] for owner, path in names if owner == package}
    assert folders - {*BASES} == listed


def test_every_config_is_listed_once() -> None:
    names = [case.config for case in ALL_CASES]
    assert len(set(names)) == len(names)


def test_reasons_do_not_excuse_a_whole_network() -> None:
    """The table may explain single idle branches; a pattern that matches anything hides faults."""
    for case in CASES:
        assert not case.why_idle("backbone.layer4.2.conv3.weight"), case.config
        assert not case.why_idle("neck.fpn_convs.0.conv.weight"), case.config


# --- the proof is able to fail -------------------------------------------------------------


def test_a_missing_op_is_reported_and_its_calls_are_put_back(monkeypatch) -> None:
    import mmcv._ext as ext

    def missing(*args, **kwargs):
        raise MissingOpError("mmcv's op 'psamask_forward' is not available")

    monkeypatch.setattr(ext, "psamask_forward", missing)
    outcome = run_case(case_of("psanet"))
    assert (outcome.builds, outcome.trains, outcome.works) == (True, False, False)
    assert "MissingOpError" in outcome.error
    assert "psamask_forward" in outcome.error
    assert ext.psamask_forward is missing


@pytest.mark.slow
def test_an_op_without_backward_is_noticed(monkeypatch) -> None:
    import mmcv._ext as ext

    monkeypatch.setattr(ext, "psamask_backward", lambda *args, **kwargs: None)
    outcome = run_case(case_of("psanet"))
    assert outcome.loss is not None
    assert not outcome.works
    assert any("attention" in name for name in outcome.unexplained)


def test_a_config_that_goes_around_its_op_is_noticed() -> None:
    outcome = run_case(replace(case_of("segformer"), ops=("nms",)))
    assert outcome.predicts
    assert not outcome.works
    assert "nms was never called" in outcome.error


def test_a_config_that_does_not_exist_is_reported() -> None:
    outcome = run_case(Case("mmseg::fcn/fcn_r51-d8.py", "semantic"))
    assert not outcome.builds
    assert "fcn_r51-d8" in outcome.error


def test_recording_names_only_what_was_called() -> None:
    import torch
    from mmcv.ops import nms

    with recorded_ext_calls() as called:
        nms(torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4]]), torch.tensor([0.9, 0.8]), 0.5)
    assert called == {"nms"}
