"""Copies are added up one by one: the labels of mmseg's TTA model, in the memory of one copy."""

from __future__ import annotations

from functools import partial

import mmseg.models  # noqa: F401  (registers)
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmattn.compare.variant_cost import peak_bytes

CLASSES, SIZE = 23, (60, 80)


def merging(kind: str, **head: int | float) -> nn.Module:
    torch.manual_seed(0)
    head = {"num_classes": CLASSES, **head}
    fcn = {"in_channels": 64, "in_index": 3, "channels": 16, "num_convs": 1, "concat_input": False}
    backbone = {"type": "mmseg.ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8}
    module = {
        "type": "mmseg.EncoderDecoder",
        "data_preprocessor": {"type": "mmseg.SegDataPreProcessor"},
        "backbone": {**backbone, "norm_cfg": {"type": "BN"}},
        "decode_head": {"type": "mmseg.FCNHead", "norm_cfg": {"type": "BN"}, **fcn, **head},
        "test_cfg": ConfigDict(mode="whole"),
    }
    model = MODELS.build({"type": f"{kind}.SegTTAModel", "module": module})
    segmentor = model.module
    nn.init.normal_(segmentor.decode_head.conv_seg.weight)
    segmentor.train()
    with torch.no_grad():
        for _ in range(20):  # until the statistics of batch norm fit, and labels differ
            segmentor.decode_head.forward(segmentor.extract_feat(torch.randn(2, 3, 64, 64)))
    return model.eval()


def augmented(copies: int, images: int = 1) -> dict:
    """Copies of different sizes, every second one mirrored; each with a ground truth of its own."""
    data: dict = {"inputs": [], "data_samples": []}
    for copy in range(copies):
        shape = (48 + 16 * (copy // 2), 64 + 16 * (copy // 2))
        noise = torch.Generator().manual_seed(copy // 2)
        meta = {"ori_shape": SIZE, "img_shape": shape, "flip": copy % 2 == 1}
        meta |= {"flip_direction": "horizontal"}
        inputs, samples = [], []
        for index in range(images):
            image = torch.randn(3, *shape, generator=noise)
            inputs.append(image.flip(-1) if copy % 2 else image)
            sample = SegDataSample(metainfo={**meta, "img_path": f"{index}.png"})
            sample.gt_sem_seg = PixelData(data=torch.full((1, *SIZE), 10 * index + copy))
            samples.append(sample)
        data["inputs"].append(inputs)
        data["data_samples"].append(samples)
    return data


@torch.no_grad()
def predicted(model: nn.Module, data: dict) -> list[SegDataSample]:
    return model.test_step(data)


@pytest.mark.filterwarnings("ignore:The shape of value will convert")  # mmseg's labels are 2-D
def test_labels_equal_upstream() -> None:
    ours, theirs = (
        predicted(merging(kind), augmented(6, images=2)) for kind in ("mmattn", "mmseg")
    )
    alone = predicted(merging("mmattn"), augmented(1, images=2))
    for mine, other, single in zip(ours, theirs, alone, strict=True):
        assert torch.equal(mine.pred_sem_seg.data, other.pred_sem_seg.data)
        assert mine.pred_sem_seg.data.dtype == other.pred_sem_seg.data.dtype
        assert len(mine.pred_sem_seg.data.unique()) >= 2
        assert (mine.pred_sem_seg.data != single.pred_sem_seg.data).any()
        assert torch.equal(mine.gt_sem_seg.data, other.gt_sem_seg.data)
        assert mine.img_path == other.img_path
        assert torch.equal(mine.seg_logits.data, other.seg_logits.data)


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_probabilities_of_one_channel_are_averaged(threshold: float) -> None:
    model = merging("mmattn", num_classes=2, out_channels=1, threshold=threshold)
    (merged,) = predicted(model, augmented(6))
    data = augmented(6)
    copies = [
        predicted(model.module, {key: value[index] for key, value in data.items()})[0]
        for index in range(6)
    ]
    expected = sum(copy.seg_logits.data for copy in copies) / 6 > threshold
    assert torch.equal(merged.pred_sem_seg.data, expected.float())
    assert len(expected.unique()) == 2
    (alone,) = predicted(model, augmented(1))
    assert torch.equal(alone.pred_sem_seg.data, copies[0].pred_sem_seg.data)


def test_a_batch_as_lists(monkeypatch) -> None:
    """As a collation of parts without names hands it over."""
    model = merging("mmattn")
    (named,) = predicted(model, augmented(4))
    step, names = model.module.test_step, ("inputs", "data_samples")
    monkeypatch.setattr(
        model.module, "test_step", lambda one: step(dict(zip(names, one, strict=True)))
    )
    (plain,) = predicted(model, list(augmented(4).values()))
    assert torch.equal(named.pred_sem_seg.data, plain.pred_sem_seg.data)


@pytest.mark.filterwarnings("ignore:The shape of value will convert")  # mmseg's labels are 2-D
def test_memory_does_not_grow_with_the_copies() -> None:
    one_map = 4 * CLASSES * SIZE[0] * SIZE[1]
    grown = {}
    for kind in ("mmattn", "mmseg"):
        model, peaks = merging(kind), []
        for repeated in (1, 5):
            # Pairs of copies of one size: only their number differs.
            pairs = [augmented(2) for _ in range(repeated)]
            data = {key: [one for pair in pairs for one in pair[key]] for key in pairs[0]}
            peaks.append(peak_bytes(partial(predicted, model, data)))
        grown[kind] = (peaks[1] - peaks[0]) / one_map
    assert grown["mmattn"] < 1
    assert grown["mmseg"] > 7
