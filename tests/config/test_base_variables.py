"""A variable that is set after a base has used its own changes nothing, and that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.config import load_config
from mmattn.config.base_variables import late_variables
from mmattn.errors import ConfigError
from mmattn.preflight.config_keys import check_keys

BASE = """\
data_root = 'data/base/'
size = (4, 4)
unused = 1
dataset = dict(type='X', data_root=data_root, ann_file=data_root + 'a.json', size=size)
train_dataloader = dict(batch_size=1, dataset=dataset)
"""


@pytest.fixture
def derived(tmp_path: Path):
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "middle.py").write_text("_base_ = 'base.py'\n")

    def write(text: str, options: dict | None = None):
        (tmp_path / "own.py").write_text(f"_base_ = ['middle.py']\n{text}\n")
        return load_config(tmp_path / "own.py", options)

    return write


def test_a_data_root_that_no_dataset_reads_is_refused(derived) -> None:
    """It was ignored, and the data of the base were read."""
    cfg = derived("data_root = 'data/mine'")
    said = r"data_root='data/mine' changes nothing: .*base.py .*'data/base/'.*data_root=data/mine"
    with pytest.raises(ConfigError, match=said):
        check_keys(cfg, cfg.filename)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("data_root = 'data/mine'\ntrain_dataloader = dict(dataset=dict(data_root=data_root))", {}),
        ("data_root = 'd/'\ntrain_dataloader = dict(dataset=dict(data_root='d'))", {}),
        ("data_root = 'data/mine'", {"data_root": "data/third"}),
        ("data_root = 'data/base/'", {}),
        ("unused = 2\nnew = 3\nload_from = 'a.pth'", {}),
    ],
)
def test_one_that_is_read_or_is_the_same_passes(derived, text: str, options: dict, caplog) -> None:
    cfg = derived(text, options)
    check_keys(cfg, cfg.filename)
    assert not caplog.text


def test_other_variables_are_told(derived, caplog) -> None:
    cfg = derived("size = (8, 8)")
    check_keys(cfg, cfg.filename)
    assert (
        "size=(8, 8) changes nothing: its base base.py has used its own value, (4, 4)"
        in caplog.text
    )


def test_configs_of_the_packages_have_none_that_matters() -> None:
    """Upstream sets some variables twice, to the same value."""
    for name in ("mmdet::fpg/faster-rcnn_r50_fpn_crop640-50e_coco.py",
                 "mmseg::segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py",
                 "mmattn::folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"):  # fmt: skip
        cfg = load_config(name)
        assert late_variables(cfg, cfg.filename) == []
