"""mmattn.EncoderDecoder labels like mmseg's, in a few maps of memory, and blends its windows."""

from __future__ import annotations

from typing import Any

import mmseg.models  # noqa: F401  (registers)
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmattn.errors import ConfigError
from mmattn.layers import logit_maps

CLASSES = 23
SLIDE = {"mode": "slide", "crop_size": (48, 40), "stride": (33, 27)}
FCN = {
    "type": "mmseg.FCNHead",
    "in_channels": 64,
    "in_index": 3,
    "channels": 16,
    "num_convs": 1,
    "concat_input": False,
    "num_classes": CLASSES,
    "norm_cfg": {"type": "BN"},
}


def segmentor(kind: str, test_cfg: dict, head: dict = FCN, **changes: Any) -> nn.Module:
    """A small network with the weights of seed 0."""
    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": f"{kind}.EncoderDecoder",
            "data_preprocessor": {"type": "mmseg.SegDataPreProcessor"},
            "backbone": {
                "type": "mmseg.ResNet",
                "depth": 18,
                "base_channels": 8,
                "stem_channels": 8,
                "norm_cfg": {"type": "BN"},
            },
            "decode_head": {**head, **changes},
            "test_cfg": ConfigDict(test_cfg),  # as a config file has it
        }
    ).eval()
    for index, parameter in enumerate(model.parameters()):
        noise = torch.Generator().manual_seed(index)
        # Away from the initial state, where all logits are close to zero.
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=noise)
    return model


def pair(test_cfg: dict, **changes: Any) -> tuple[nn.Module, nn.Module]:
    """Ours and upstream's, with equal weights."""
    theirs = {k: v for k, v in test_cfg.items() if k != "keep_logits"}
    return segmentor("mmattn", test_cfg, **changes), segmentor("mmseg", theirs, **changes)


def images(height: int = 65, width: int = 97, count: int = 1) -> Tensor:
    shape = (count, 3, height, width)
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(5))


def samples(inputs: Tensor, *sizes: tuple[int, int], **meta: Any) -> list[SegDataSample]:
    shape = tuple(inputs.shape[2:])
    return [
        SegDataSample(metainfo={"ori_shape": one, "img_shape": shape, "pad_shape": shape, **meta})
        for one in sizes
    ]


@torch.no_grad()
def labels(model: nn.Module, inputs: Tensor, *sizes: tuple[int, int], **meta: Any) -> list[Tensor]:
    found = model.predict(inputs, samples(inputs, *sizes, **meta))
    return [one.pred_sem_seg.data for one in found]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        assert torch.equal(mine, other)
        assert len(mine.unique()) >= 3, "a constant image tells nothing"


@pytest.mark.parametrize("test_cfg", [{"mode": "whole"}, SLIDE], ids=["whole", "slide"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_equal_upstream(test_cfg: dict, align_corners: bool) -> None:
    ours, theirs = pair(test_cfg, align_corners=align_corners)
    inputs = images()
    for size, meta in (
        ((65, 97), {}),
        ((130, 161), {}),
        ((31, 44), {"flip": True, "flip_direction": "horizontal"}),
        ((65, 97), {"flip": True, "flip_direction": "vertical"}),
        ((90, 90), {"padding_size": [0, 9, 0, 6]}),
        ((90, 90), {"img_padding_size": (2, 9, 1, 6), "padding_size": [0, 0, 0, 0]}),
    ):
        assert_same(labels(ours, inputs, size, **meta), labels(theirs, inputs, size, **meta))


@pytest.mark.parametrize("test_cfg", [{"mode": "whole"}, SLIDE], ids=["whole", "slide"])
def test_a_batch_of_images_of_different_files(test_cfg: dict) -> None:
    ours, theirs = pair(test_cfg)
    inputs, sizes = images(count=2), ((50, 60), (97, 65))
    assert_same(labels(ours, inputs, *sizes), labels(theirs, inputs, *sizes))


def test_tensors_alone() -> None:
    for test_cfg in ({"mode": "whole"}, SLIDE):
        ours, theirs = pair(test_cfg)
        with torch.no_grad():
            mine, other = ours.predict(images(count=2)), theirs.predict(images(count=2))
        assert_same(*([one.pred_sem_seg.data for one in found] for found in (mine, other)))


def test_kept_logits_equal_upstream_too() -> None:
    for test_cfg in ({"mode": "whole"}, SLIDE):
        ours, theirs = pair({**test_cfg, "keep_logits": True})
        inputs = images()
        with torch.no_grad():
            (mine,), (other,) = (
                model.predict(inputs, samples(inputs, (80, 70))) for model in (ours, theirs)
            )
        assert torch.equal(mine.seg_logits.data, other.seg_logits.data)
        assert torch.equal(mine.pred_sem_seg.data, other.pred_sem_seg.data)


def test_a_diagonal_flip_is_undone() -> None:
    """mmseg refuses it, with an assertion."""
    model = segmentor("mmattn", {"mode": "whole"})
    inputs = images(64, 96)
    straight = labels(model, inputs, (64, 96))[0]
    flipped = labels(model, inputs, (64, 96), flip=True, flip_direction="diagonal")[0]
    assert torch.equal(flipped, straight.flip(1, 2))
    assert not torch.equal(straight.flip(1), straight.flip(1, 2))


def test_heads_that_answer_in_their_own_way() -> None:
    """DANet's head overrides predict; its maps come at full size."""
    danet = {key: FCN[key] for key in ("in_channels", "in_index", "channels", "num_classes")}
    danet |= {"type": "mmseg.DAHead", "pam_channels": 8, "norm_cfg": {"type": "BN"}}
    for test_cfg in ({"mode": "whole"}, SLIDE):
        ours, theirs = (segmentor(kind, test_cfg, danet) for kind in ("mmattn", "mmseg"))
        assert_same(labels(ours, images(), (90, 80)), labels(theirs, images(), (90, 80)))


def test_one_channel_and_a_threshold() -> None:
    binary = {"num_classes": 2, "out_channels": 1, "threshold": 0.5}
    inputs = images()
    for test_cfg in ({"mode": "whole"}, SLIDE):
        ours, theirs = pair(test_cfg, **binary)
        with torch.no_grad():
            metas = [one.metainfo for one in samples(inputs, (90, 80))]
            middle = theirs.inference(inputs, metas).median()
        for model in (ours, theirs):
            model.decode_head.conv_seg.bias.data -= middle
        mine, other = (labels(model, inputs, (90, 80)) for model in (ours, theirs))
        assert torch.equal(mine[0], other[0])
        assert len(mine[0].unique()) == 2


def test_mixed_precision() -> None:
    ours, theirs = pair({"mode": "whole"})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(labels(ours, images(), (90, 80)), labels(theirs, images(), (90, 80)))


class Largest(TorchDispatchMode):
    """Remembers how many elements the largest result of any operation had."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


@pytest.mark.parametrize("test_cfg", [{"mode": "whole"}, SLIDE], ids=["whole", "slide"])
def test_no_tensor_is_larger_than_the_image(test_cfg: dict, monkeypatch) -> None:
    """All classes at the size of the file would be eight times as large as the image is there."""
    monkeypatch.setattr(logit_maps, "_SMALL", 0)  # or this image would be left together
    ours, theirs = pair(test_cfg)
    largest = []
    for model in (ours, theirs):
        with Largest() as mode:
            labels(model, images(), (130, 194))
        largest.append(mode.elements)
    assert largest[0] <= 3 * 130 * 194
    assert largest[1] >= CLASSES * 130 * 194


def test_cosine_blending_differs_from_uniform_and_only_where_windows_overlap() -> None:
    uniform, cosine = (
        segmentor("mmattn", {**SLIDE, "blend": blend, "keep_logits": True})
        for blend in ("uniform", "cosine")
    )
    inputs = images(48, 67)  # two windows: columns 0 to 39 and 27 to 66
    with torch.no_grad():
        first, second = (
            model.predict(inputs, samples(inputs, (48, 67)))[0].seg_logits.data
            for model in (uniform, cosine)
        )
    torch.testing.assert_close(second[..., :27], first[..., :27])
    torch.testing.assert_close(second[..., 40:], first[..., 40:])
    assert (second[..., 27:40] - first[..., 27:40]).abs().max() > 0.01
    plain = segmentor("mmattn", {**SLIDE, "blend": "cosine"})
    assert torch.equal(labels(plain, inputs, (48, 67))[0][0], second.argmax(0))


@pytest.mark.parametrize(
    ("test_cfg", "message"),
    [
        ({"mode": "slid"}, "Did you mean 'slide'"),
        ({**SLIDE, "blend": "cosin"}, "Did you mean 'cosine'"),
        ({**SLIDE, "blent": "cosine"}, "no 'blent'. Did you mean 'blend'"),
        ({"mode": "whole", "blend": "cosine"}, "needs mode='slide'"),
        ({"mode": "slide", "crop_size": (48, 48)}, "stride=None"),
        ({"mode": "slide", "crop_size": 48, "stride": (8, 8)}, "crop_size=48"),
        ({**SLIDE, "stride": (49, 27)}, "larger than crop_size"),
    ],
)
def test_settings_that_cannot_be_meant(test_cfg: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        segmentor("mmattn", test_cfg)
