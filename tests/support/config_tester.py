"""The contract of a system's configs: each runs as it is, says where it is from, and is listed.

class TestConfigs(ConfigTester):
    folder = "configs/eca"
    paper = "arXiv:1910.03151"
    block = ECA
    expected = {"retinanet_r50-eca_fpn_1x_coco": ("detection", 16)}
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from mmattn.config import load_config

from .compatibility import run_case
from .upstream_configs import Case

_ROOT = Path(__file__).resolve().parents[2]
_LINES = 60


class ConfigTester:
    """Inherit, and say which configs there are.

    Attributes:
        folder: Of the configs, from the root of the repository.
        paper: What their headers cite.
        block: The attention block.
        expected: Config -> its task, as ``Case`` has it, and how many blocks its model has.
        quick: The config that the default run trains, if any; the others are for ``-m slow``.
        special: Config -> further arguments of its ``Case``, such as the size of the images.
        in_memory: Configs whose constructors read numbers: torch's meta device has none.
    """

    folder: str
    paper: str
    block: type[nn.Module]
    expected: dict[str, tuple[str, int]]
    quick: str
    special: dict[str, dict[str, Any]] = {}
    in_memory: tuple[str, ...] = ()

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        if "name" not in metafunc.fixturenames:
            return
        trains = metafunc.function.__name__ == "test_trains_and_predicts"
        names = [
            pytest.param(name, marks=pytest.mark.slow) if trains and name != cls.quick else name
            for name in sorted(cls.expected)
        ]
        metafunc.parametrize("name", names)

    def path(self, name: str) -> Path:
        """The file of a config."""
        return _ROOT / self.folder / f"{name}.py"

    def test_all_configs_are_expected_and_listed(self) -> None:
        here = {file.stem for file in (_ROOT / self.folder).glob("*.py")}
        assert here == set(self.expected)
        text = (_ROOT / self.folder / "metafile.yml").read_text(encoding="utf-8")
        models = {model["Name"]: model["Config"] for model in yaml.safe_load(text)["Models"]}
        assert models == {name: f"{self.folder}/{name}.py" for name in here}
        index = (_ROOT / "model-index.yml").read_text(encoding="utf-8")
        assert f"{self.folder}/metafile.yml" in index

    def test_header_tells_paper_and_command(self, name: str) -> None:
        text = self.path(name).read_text(encoding="utf-8")
        header = ast.get_docstring(ast.parse(text))
        assert self.paper in header
        assert f"{self.folder}/{name}.py" in header
        assert "eproduced" in header
        assert len(text.splitlines()) <= _LINES

    def test_model_has_the_blocks(self, name: str) -> None:
        cfg = load_config(self.path(name))
        device = torch.device("cpu" if name in self.in_memory else "meta")
        with DefaultScope.overwrite_default_scope(cfg.default_scope), device:
            model = MODELS.build(cfg.model)
        blocks = [module for module in model.modules() if isinstance(module, self.block)]
        assert len(blocks) == self.expected[name][1]

    @pytest.mark.filterwarnings("ignore")  # mmdet's and mmseg's own
    def test_trains_and_predicts(self, name: str) -> None:
        task = self.expected[name][0]
        # For semantic segmentation, scenes whose ground is class 8.
        background = 8 if task == "semantic" else None
        special = self.special.get(name, {})
        outcome = run_case(Case(str(self.path(name)), task, background=background, **special))
        assert not outcome.error, outcome.traceback
        assert outcome.predicts
        assert math.isfinite(outcome.loss)
        assert not outcome.unexplained, "no gradient reaches these parameters"
