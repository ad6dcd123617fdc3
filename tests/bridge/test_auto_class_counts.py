"""``num_classes="auto"`` in a model that others build is a sentence, not torch's TypeError."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmattn.errors import ConfigError


def test_init_model_of_mmseg_says_what_auto_needs(repo: Path) -> None:
    from mmseg.apis import init_model

    recipe = repo / "configs/folder/ccnet_r18-d8_1xb4-2k_folder-256x256.py"
    with pytest.raises(ConfigError, match=r"num_classes='auto' .* Write the number"):
        init_model(str(recipe), device="cpu")


def test_init_detector_of_mmdet_says_so_too(repo: Path) -> None:
    from mmdet.apis import init_detector

    recipe = repo / "tests/support/configs/tiny_retinanet.py"
    options = {"model.bbox_head.num_classes": "auto"}
    with pytest.raises(ConfigError, match=r"RetinaHead: num_classes='auto' .*build_model"):
        init_detector(str(recipe), device="cpu", cfg_options=options)
