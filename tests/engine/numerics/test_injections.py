"""Promise: in every system, a number that is not finite changes nothing and is found.

Each case trains a small network for three steps, the second of which is poisoned.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmengine.structures import PixelData
from torch.utils.data import DataLoader, Dataset

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.engine.hooks.finite_steps import FiniteStepsHook
from mmattn.engine.numerics.bad_step import read_bad_step
from mmattn.engine.numerics.replay import repeat_saved
from mmattn.errors import NumericsError
from tests.support.poison import SITES, Poison, differences, state_of
from tests.support.small_detectors import detector
from tests.support.tiny_models import tiny_batch, tiny_detector

_count = itertools.count()
_DET, _SEG = "mmdet", "mmseg"


def _resnet(**options: Any) -> dict[str, Any]:
    return {"type": "ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8, **options}


def _retinanet() -> tuple[str, dict]:
    return _DET, tiny_detector(_resnet(norm_cfg={"type": "BN"}), (8, 16, 32, 64))


def _yolox() -> tuple[str, dict]:
    model = detector("YOLOX")
    model["data_preprocessor"]["batch_augments"] = [
        {"type": "BatchSyncRandomResize", "random_size_range": (64, 128), "interval": 1}
    ]
    model["bbox_head"]["num_classes"] = 4
    assigner = {"type": "SimOTAAssigner", "center_radius": 2.5}
    return _DET, {**model, "train_cfg": {"assigner": assigner}}


def _yolov12() -> tuple[str, dict]:
    model = load_config("mmattn::yolov12/yolov12-n_8xb32-600e_coco.py").model
    model.bbox_head.num_classes = 4
    model.pop("train_cfg", None)
    return _DET, model.to_dict()


def _segmentor(config: str, **changes: Any) -> Callable[[], tuple[str, dict]]:
    def build() -> tuple[str, dict]:
        cfg = load_config(config)
        cfg.merge_from_dict({f"model.{k.replace('__', '.')}": v for k, v in changes.items()})
        model = cfg.model.to_dict()
        model["data_preprocessor"] = {"type": "SegDataPreProcessor", "size": (64, 64)}
        for part in (model, model["backbone"]):
            part.pop("pretrained", None)
            part.pop("init_cfg", None)
        return _SEG, model

    return build


def _fcn() -> tuple[str, dict]:
    head = {
        "type": "FCNHead", "in_channels": 64, "channels": 8, "num_convs": 1, "num_classes": 5,
        "norm_cfg": {"type": "BN"}, "concat_input": False,
    }  # fmt: skip
    preprocessor = {"type": "SegDataPreProcessor", "size": (64, 64)}
    return _SEG, {
        "type": "EncoderDecoder", "data_preprocessor": preprocessor, "test_cfg": {"mode": "whole"},
        "backbone": {**_resnet(norm_cfg={"type": "BN"}), "type": "mmseg.ResNet"},
        "decode_head": head,
    }  # fmt: skip


MASK2FORMER = "mmattn::mask2former/mask2former_r18_1xb8-2k_shapes-semantic-128x128.py"
SYSTEMS: dict[str, Callable[[], tuple[str, dict]]] = {
    "FCN": _fcn,
    "RetinaNet": _retinanet,
    "YOLOX": _yolox,
    "YOLOv12": _yolov12,
    "CCNet": _segmentor("mmattn::ccnet/ccnet_r18-d4_1xb8-600_shapes-96x128.py"),
    "Mask2Former": _segmentor(MASK2FORMER),
    "BEVANet": _segmentor("mmattn::bevanet/bevanet-s_1xb8-1k_camvid-176x240.py"),
}  # fmt: skip
CASES = [
    pytest.param(system, site, policy, marks=() if default else pytest.mark.slow,
                 id=f"{system}-{site}-{policy}")
    for system in SYSTEMS
    for site in SITES
    for policy in ("stop", "skip")
    if (site, policy) != ("weight", "skip")  # a weight of nan is not a matter of one step
    for default in [(system, site, policy) in {
        ("FCN", "output", "skip"), ("RetinaNet", "input", "stop"), ("YOLOX", "weight", "stop"),
    }]
]  # fmt: skip


class Batches(Dataset):
    """Three times the same two scenes."""

    metainfo: dict = {}

    def __init__(self, scope: str):
        batch = tiny_batch(segmentation=scope == _SEG)
        pairs = zip(batch["inputs"], batch["data_samples"], strict=True)
        self.samples = [{"inputs": image, "data_samples": sample} for image, sample in pairs]
        for index, sample in enumerate(self.samples):
            sample["data_samples"].set_metainfo({"img_path": f"scene_{index}.png"})
            if scope == _SEG:  # for BEVANet
                edges = sample["data_samples"].gt_sem_seg.data % 2
                sample["data_samples"].gt_edge_map = PixelData(data=edges)

    def __len__(self) -> int:
        return 3 * len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return deepcopy(self.samples[index % len(self.samples)])


def trained(system: str, site: str, policy: str, folder: Path) -> tuple[Any, Any, Poison]:
    """A runner ready to train, a copy of its untrained model, and what poisons it."""
    scope, model = SYSTEMS[system]()
    enter_scope(Config({"default_scope": scope}))
    torch.manual_seed(0)
    network: Any = MODELS.build(model)
    network.init_weights()
    poison = Poison(site, [1])
    runner = Runner(
        model=network,
        work_dir=str(folder),
        train_dataloader=DataLoader(Batches(scope), batch_size=2, collate_fn=pseudo_collate),
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": 3},
        optim_wrapper={"optimizer": {"type": "AdamW", "lr": 1e-4}, "clip_grad": {"max_norm": 10}},
        param_scheduler={"type": "LinearLR", "start_factor": 0.5, "end": 3, "by_epoch": False},
        default_hooks={"checkpoint": {"type": "mmattn.CheckpointHook", "interval": -1},
                       "logger": None},
        custom_hooks=[{"type": "EMAHook"}, poison, FiniteStepsHook(policy)],
        default_scope=scope,
        log_level="ERROR",
        randomness={"seed": 0},
        experiment_name=f"injection_{next(_count)}",
    )  # fmt: skip
    return runner, deepcopy(network), poison


@pytest.mark.parametrize(("system", "site", "policy"), CASES)
def test_injection(system: str, site: str, policy: str, tmp_path: Path) -> None:
    runner, network, poison = trained(system, site, policy, tmp_path)
    if policy == "skip":
        runner.train()
        assert differences(poison.states[1], poison.states[2]) == []
        assert differences(poison.states[2], state_of(runner)) != []
        return
    with pytest.raises(NumericsError, match="step 2: ") as error:
        runner.train()
    said = str(error.value)
    assert differences(poison.states[1], state_of(runner)) == []
    assert not list(tmp_path.glob("*.pth"))
    assert re.search(r"the first that is not finite is the \w", said), said
    assert "scene_0.png, scene_1.png" in said
    file = tmp_path / "bad_steps/iter_2.pth"
    assert str(file) in said
    torch.load(file, weights_only=True)
    if site in ("input", "weight"):  # what the file holds; hooks of a test are in no file
        again = repeat_saved(read_bad_step(file), network, str(file))
        assert again.same, (again.recorded, again.repeated)
