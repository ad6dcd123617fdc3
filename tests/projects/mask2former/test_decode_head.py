"""Promise: the head serves mmseg's segmentors, on whole images and on windows, without mmdet."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmattn.config import load_config
from mmattn.errors import ConfigError, DataError
from mmattn.projects.mask2former import Mask2FormerDecodeHead
from mmattn.registry import MODELS

CONFIG = "mmattn::mask2former/mask2former_r18_1xb8-2k_shapes-semantic-128x128.py"


def segmentor(kind: str = "mmattn.EncoderDecoder", **test_cfg: Any) -> Any:
    cfg = load_config(CONFIG).model
    cfg.type = kind
    cfg.test_cfg = test_cfg or {"mode": "whole"}
    cfg.data_preprocessor = None
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def samples(count: int, size: tuple[int, int]) -> list[SegDataSample]:
    metainfo = {"img_shape": size, "pad_shape": size, "ori_shape": size}
    return [SegDataSample(metainfo=metainfo) for _ in range(count)]


@pytest.mark.parametrize("size", [(64, 96), (50, 75)])
@pytest.mark.parametrize("kind", ["mmattn.EncoderDecoder", "mmseg.EncoderDecoder"])
def test_whole_images(kind: str, size: tuple[int, int]) -> None:
    model = segmentor(kind)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.predict(images, samples(2, size))
        classes, masks = model(images, mode="tensor")
    masks = torch.nn.functional.interpolate(masks, size, mode="bilinear")
    scores = torch.einsum("bqk,bqhw->bkhw", classes.softmax(2)[..., :-1], masks.sigmoid())
    labels = torch.stack([sample.pred_sem_seg.data[0] for sample in found])
    assert torch.equal(labels, scores.argmax(1))


@pytest.mark.parametrize("kind", ["mmattn.EncoderDecoder", "mmseg.EncoderDecoder"])
@pytest.mark.parametrize("padded", [True, False])
def test_sliding_windows(kind: str, padded: bool) -> None:
    """Scores of windows are averaged; ``pad_shape`` is then of no window."""
    size = (64, 96)
    model = segmentor(kind, mode="slide", crop_size=(64, 64), stride=(32, 32))
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    metas = samples(1, size)[0].metainfo
    if not padded:
        metas = {key: value for key, value in metas.items() if key != "pad_shape"}
    with torch.no_grad():
        found = model.inference(image, [dict(metas)])
        windows = [whole_scores(model, image[..., left : left + 64]) for left in (0, 32)]
    expected = torch.zeros_like(found)
    count = torch.zeros(96)
    for left, window in zip((0, 32), windows, strict=True):
        expected[..., left : left + 64] += window
        count[left : left + 64] += 1
    torch.testing.assert_close(found, expected / count)


@pytest.mark.parametrize("kind", ["mmattn.EncoderDecoder", "mmseg.EncoderDecoder"])
def test_windows_of_half_an_image(kind: str) -> None:
    """Their masks are a fraction of ``pad_shape``, too."""
    model = segmentor(kind, mode="slide", crop_size=(64, 64), stride=(64, 64))
    image = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model.inference(image, [dict(samples(1, (128, 128))[0].metainfo)])
        corner = whole_scores(model, image[..., :64, :64])
    torch.testing.assert_close(found[..., :64, :64], corner)


def whole_scores(model: Any, image: Tensor) -> Tensor:
    size = tuple(image.shape[2:])
    return model.decode_head.predict(model.extract_feat(image), [{"img_shape": size}])


def test_images_that_mmseg_pads() -> None:
    """``img_shape`` is the image's own then, and results have its size."""
    model = segmentor()
    sample = SegDataSample(
        metainfo={
            "img_shape": (60, 90), "pad_shape": (64, 96), "ori_shape": (60, 90),
            "img_padding_size": [0, 6, 0, 4],
        }
    )  # fmt: skip
    with torch.no_grad():
        (found,) = model.predict(torch.randn(1, 3, 64, 96), [sample])
    assert found.pred_sem_seg.data.shape == (1, 60, 90)


def test_metas_that_belong_to_another_input() -> None:
    model = segmentor()
    with pytest.raises(DataError, match=r"masks of \(16, 24\) belong neither to .*\(30, 40\)"):
        model.decode_head.predict(
            model.extract_feat(torch.randn(1, 3, 64, 96)), [{"img_shape": (30, 40)}]
        )


def test_one_mask_for_each_class_that_is_there() -> None:
    head = Mask2FormerDecodeHead([8], 10, num_levels=1, channels=32)
    label_map = torch.tensor([[3, 3, 255], [9, 3, 9]])
    targets = head._targets(label_map)
    assert targets.labels.tolist() == [3, 9]
    assert targets.masks.unpacked().tolist() == [
        [[True, True, False], [False, True, False]],
        [[False, False, False], [True, False, True]],
    ]
    assert len(head._targets(torch.full((2, 3), 255)).labels) == 0


def test_training_loss_and_labels_out_of_range() -> None:
    model = segmentor()
    given = samples(2, (64, 96))
    for sample in given:
        labels = torch.randint(0, 10, (1, 64, 96))
        labels[0, :9] = 255
        sample.gt_sem_seg = PixelData(data=labels)
    losses = model.loss(torch.randn(2, 3, 64, 96), given)
    assert "decode.loss_mask" in losses
    assert losses["decode.objects_without_query"] == 0
    given[1].gt_sem_seg.data[0, 20, 20] = 10
    with pytest.raises(DataError, match="the head has 10 classes, 0 to 9"):
        model.loss(torch.randn(2, 3, 64, 96), given)


def test_results_are_those_of_mmsegs_head() -> None:
    """Of the same weights, under the same names; mmseg's head is mmdet's."""
    cfg = load_config("mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py").model
    torch.manual_seed(0)
    theirs = MODELS.build({**cfg.decode_head, "type": "mmseg.Mask2FormerHead"}).eval()
    ours = Mask2FormerDecodeHead([256, 512, 1024, 2048], 19).eval()
    ours.load_state_dict(
        {key: value for key, value in theirs.state_dict().items() if key != "criterion"}
    )
    features = [
        torch.randn(1, c, 64 // s, 96 // s)
        for c, s in zip((256, 512, 1024, 2048), (4, 8, 16, 32), strict=True)
    ]
    metas = [{"img_shape": (64, 96)}]
    with torch.no_grad():
        found, expected = (head.predict(features, metas, None) for head in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_ignored_label_that_is_a_class() -> None:
    with pytest.raises(ConfigError, match="ignore_index=3 is one of the num_classes=10"):
        Mask2FormerDecodeHead([8], 10, ignore_index=3)


@pytest.mark.slow
def test_mmdet_is_not_needed() -> None:
    """And whoever asks for the head that needs it is told so."""
    code = """if True:
        import sys
        sys.modules["mmdet"] = None
        from mmattn.errors import PluginError
        from mmattn.registry import MODELS
        shape = dict(in_channels=[8], num_levels=1, channels=32)
        MODELS.build(dict(type="Mask2FormerDecodeHead", num_classes=3, **shape))
        try:
            MODELS.build(dict(type="mmattn.Mask2FormerHead", **shape))
        except PluginError as error:
            assert "'mask2former.detection' needs the package 'mmdet'" in str(error), error
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", code], check=True)
