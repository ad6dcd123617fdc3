"""Promise: for the same weights, head and results are those of mmdet's Mask2Former."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmdet.models.seg_heads import MaskFormerFusionHead
from mmdet.models.utils import preprocess_panoptic_gt
from mmdet.structures import INSTANCE_OFFSET, DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmattn.config import load_config
from mmattn.errors import ConfigError, DataError
from mmattn.projects.mask2former.detection import Mask2FormerFusionHead, Mask2FormerHead
from mmattn.projects.mask2former.detection.targets import targets_of
from mmattn.registry import MODELS

SIZE, THINGS, STUFF = (64, 96), 80, 53
CONFIG = "mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py"


@pytest.fixture(scope="module")
def heads() -> tuple[Mask2FormerHead, Any]:
    """Ours, and mmdet's with the same weights."""
    cfg = load_config(CONFIG).model
    theirs = cfg.panoptic_head
    theirs.update(train_cfg=cfg.train_cfg, test_cfg=cfg.test_cfg)
    torch.manual_seed(0)
    theirs = MODELS.build({**theirs, "type": "mmdet.Mask2FormerHead"})
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    ours = Mask2FormerHead([256, 512, 1024, 2048], THINGS, STUFF)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def features() -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, SIZE[0] // s, SIZE[1] // s, generator=random)
        for c, s in zip((256, 512, 1024, 2048), (4, 8, 16, 32), strict=True)
    ]


def samples(things: tuple[int, ...] = (3, 2)) -> list[DetDataSample]:
    rng = np.random.default_rng(0)
    found = []
    for count in things:
        stuff = torch.from_numpy(rng.integers(0, 6, (1, *SIZE)))
        found.append(
            DetDataSample(
                metainfo={
                    "batch_input_shape": SIZE, "img_shape": (60, 90), "ori_shape": (77, 131),
                },
                gt_instances=InstanceData(
                    labels=torch.from_numpy(rng.integers(0, THINGS, count)),
                    masks=BitmapMasks(rng.integers(0, 2, (count, *SIZE)).astype("uint8"), *SIZE),
                ),
                gt_sem_seg=PixelData(
                    sem_seg=torch.where(stuff < 3, stuff + THINGS, torch.where(stuff < 4, 7, 255))
                ),
            )
        )  # fmt: skip
    return found


@pytest.fixture
def same_points(monkeypatch) -> None:
    """Points that depend on nothing but how many are drawn."""
    draw = torch.rand

    def rand(*size: Any, device: Any = None) -> Tensor:
        size = size[0] if isinstance(size[0], tuple) else size
        return draw(*size, generator=torch.Generator().manual_seed(sum(size)))

    monkeypatch.setattr(torch, "rand", rand)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_logits_and_losses_are_mmdets(heads, same_points) -> None:
    ours, theirs = heads
    with torch.no_grad():
        expected = theirs(features(), samples())
        found = ours.predict_masks(features(), every_layer=True)
        for index in range(10):
            torch.testing.assert_close(
                found.class_logits[index], expected[0][index], rtol=0, atol=1e-4
            )
            torch.testing.assert_close(
                found.mask_logits(index), expected[1][index], rtol=0, atol=1e-4
            )
        last = ours.predict(features(), samples())
        for one, other in zip(last, theirs.predict(features(), samples()), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
    expected = theirs.loss(features(), samples())
    found = ours.loss(features(), samples())
    assert found.pop("objects_without_query") == 0
    assert found.keys() == expected.keys()
    assert len(found) == 30
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.sum(), rtol=1e-4, atol=1e-4, msg=name)


def test_targets_are_mmdets() -> None:
    for sample in samples((3, 0)):
        found = targets_of(sample, THINGS, STUFF)
        labels, masks = preprocess_panoptic_gt(
            sample.gt_instances.labels, sample.gt_instances.masks, sample.gt_sem_seg.sem_seg,
            THINGS, STUFF,
        )  # fmt: skip
        order = labels[-3:].argsort()  # mmdet's stuff has no order
        assert found.labels.tolist() == [*labels[:-3].tolist(), *labels[-3:][order].tolist()]
        expected = torch.cat((masks[:-3], masks[-3:][order])).bool()
        assert torch.equal(found.masks.unpacked(), expected)


def test_targets_of_other_tasks_and_sorts_of_masks() -> None:
    (sample,) = samples((2,))
    assert len(targets_of(sample, THINGS, 0).labels) == 2
    assert targets_of(sample, 0, THINGS + STUFF).labels.tolist() == [7, 80, 81, 82]
    instances: Any = sample.gt_instances
    square = [np.array([10, 10, 30, 10, 30, 20, 10, 20], dtype=float)]
    instances.masks = PolygonMasks([square, square], *SIZE)
    masks = targets_of(sample, THINGS, 0).masks.unpacked()
    assert 180 < masks[0].sum() < 240
    instances.masks = torch.zeros(2, 50, 60)
    assert targets_of(sample, THINGS, 0).masks.size == SIZE


@pytest.mark.parametrize(
    ("missing", "message"), [("masks", "with_mask=True"), ("gt_sem_seg", "num_stuff_classes=0")]
)
def test_ground_truth_that_is_missing(missing: str, message: str) -> None:
    (sample,) = samples((1,))
    part: Any = sample.gt_instances if missing == "masks" else sample
    delattr(part, missing)
    with pytest.raises(DataError, match=message):
        targets_of(sample, THINGS, STUFF)


@pytest.mark.parametrize("filter_low_score", [True, False])
@pytest.mark.parametrize("rescale", [True, False])
def test_results_are_mmdets(filter_low_score: bool, rescale: bool) -> None:
    cfg = ConfigDict(
        panoptic_on=True, instance_on=True, semantic_on=False, max_per_image=20, iou_thr=0.05,
        object_mask_thr=0.5, filter_low_score=filter_low_score,
    )  # fmt: skip
    random = torch.Generator().manual_seed(0)
    masks = torch.nn.functional.interpolate(
        4 * torch.randn(2, 12, 5, 6, generator=random), SIZE, mode="bicubic"
    )
    classes = 8 * torch.randn(2, 12, 8, generator=random)
    classes[..., -1] = -8  # few queries are of no object
    ours = Mask2FormerFusionHead(4, 3, cfg).predict(classes, masks, samples(), rescale=rescale)
    theirs = MaskFormerFusionHead(4, 3, cfg).predict(classes, masks, samples(), rescale=rescale)
    for found, expected in zip(ours, theirs, strict=True):
        a, b = found["ins_results"], expected["ins_results"]
        orders = [one.scores.argsort(descending=True) for one in (a, b)]
        for key in ("scores", "labels", "bboxes", "masks"):
            torch.testing.assert_close(
                a[key][orders[0]], b[key][orders[1]].to(a[key].dtype), rtol=1e-4, atol=1e-5
            )
        a, b = found["pan_results"].sem_seg, expected["pan_results"].sem_seg
        torch.testing.assert_close(a, b)
    maps = torch.cat([one["pan_results"].sem_seg for one in theirs])
    assert len(maps.unique()) > 4
    assert (maps >= INSTANCE_OFFSET).any()


def detector(**test_cfg: Any) -> Any:
    cfg = load_config("mmattn::mask2former/mask2former_r18_1xb4-20e_shapes-panoptic-256x192.py")
    cfg.model.test_cfg = test_cfg
    torch.manual_seed(0)
    return MODELS.build(cfg.model).eval()


def test_detector_returns_what_test_cfg_chooses() -> None:
    model = detector(panoptic_on=True, instance_on=True, semantic_on=True, object_mask_thr=0.0)
    with torch.no_grad():
        results = model.predict(torch.randn(2, 3, *SIZE), samples())
    for sample in results:
        assert sample.pred_panoptic_seg.sem_seg.shape == (1, 77, 131)
        assert sample.pred_sem_seg.sem_seg.shape == (1, 77, 131)
        assert sample.pred_instances.masks.shape[1:] == (77, 131)
        assert (sample.pred_instances.labels < 6).all()


def test_mmdets_detector_takes_the_heads() -> None:
    """The masks it hands over are large; results are the same."""
    ours = detector(panoptic_on=True, instance_on=True, object_mask_thr=0.0)
    cfg = load_config("mmattn::mask2former/mask2former_r18_1xb4-20e_shapes-panoptic-256x192.py")
    cfg.model.test_cfg = {"panoptic_on": True, "instance_on": True, "object_mask_thr": 0.0}
    cfg.model.type = "mmdet.Mask2Former"
    theirs = MODELS.build(cfg.model).eval()
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        pairs = zip(ours.predict(images, samples()), theirs.predict(images, samples()), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(
            found.pred_instances.scores, expected.pred_instances.scores, rtol=1e-4, atol=1e-5
        )
        same = found.pred_panoptic_seg.sem_seg == expected.pred_panoptic_seg.sem_seg
        assert same.float().mean() > 0.999


@pytest.mark.parametrize(
    ("test_cfg", "message"),
    [
        ({"iou_thrs": 0.5}, "test_cfg has no entry 'iou_thrs'. Did you mean 'iou_thr'"),
        ({"panoptic_on": False}, "chooses no result"),
    ],
)
def test_settings_that_do_not_fit(test_cfg: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Mask2FormerFusionHead(4, 3, test_cfg)


def test_arguments_of_the_head_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="loss_cfg"):
        Mask2FormerHead([8], train_cfg={"num_points": 5}, num_levels=1)
    with pytest.raises(ConfigError, match="num_point"):
        Mask2FormerHead([8], loss_cfg={"num_point": 5}, num_levels=1, channels=32)
    with pytest.raises(ValueError, match="num_stuff_classes must be at least 0, got -1"):
        Mask2FormerHead([8], num_stuff_classes=-1)
