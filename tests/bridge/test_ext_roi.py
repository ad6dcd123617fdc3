"""RoIAlign, RoIPool and deformable RoI pooling of mmcv against loops over single points."""

from __future__ import annotations

import functools
import math

import mmcv.ops
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck as _gradcheck

# Inside, small, over two borders, almost empty, wholly outside, in feature pixels times 2.
ROIS = torch.tensor(
    [
        [0, 2.3, 3.1, 14.9, 12.2],
        [1, 6.2, 5.0, 8.1, 6.3],
        [1, -5.2, -3.3, 9.0, 8.0],
        [0, 9.0, 7.0, 25.0, 19.7],
        [1, 4.0, 4.0, 4.2, 4.1],
        [0, 60.0, 60.0, 70.0, 75.0],
    ],
    dtype=torch.float64,
)
SIZE = (2, 3)
SCALE = 0.5
gradcheck = functools.partial(_gradcheck, fast_mode=True)


def _features() -> Tensor:
    return torch.randn(2, 2, 8, 9, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_reads_the_points_of_each_bin(mode, ratio, aligned, read_roi_point, roi_points):
    features = _features()
    pooled = mmcv.ops.roi_align(features, ROIS, SIZE, SCALE, ratio, mode, aligned)
    expected = torch.zeros_like(pooled)
    geometry = {"shift": 0.5} if aligned else {"shift": 0.0, "min_size": 1.0}
    for k, roi in enumerate(ROIS.tolist()):
        points = roi_points(roi, SIZE, SCALE, ratio, **geometry)
        for c in range(2):
            plane = features[int(roi[0]), c].detach()
            for i in range(SIZE[0]):
                for j in range(SIZE[1]):
                    values = [read_roi_point(plane, y, x) for y, x in points[i][j]]
                    value = max(values) if mode == "max" else sum(values) / len(values)
                    expected[k, c, i, j] = value
    torch.testing.assert_close(pooled, expected)
    assert gradcheck(
        lambda f: mmcv.ops.roi_align(f, ROIS, SIZE, SCALE, ratio, mode, aligned), features
    )


def test_roi_align_max_tells_where_the_maximum_was_read(read_roi_point):
    from mmcv import _ext

    features = _features().detach()
    output, y, x = (torch.zeros(len(ROIS), 2, *SIZE, dtype=torch.float64) for _ in range(3))
    _ext.roi_align_forward(
        features,
        ROIS,
        output,
        y,
        x,
        aligned_height=SIZE[0],
        aligned_width=SIZE[1],
        spatial_scale=SCALE,
        sampling_ratio=2,
        pool_mode=0,
        aligned=True,
    )
    for k, roi in enumerate(ROIS):
        for c, i, j in torch.cartesian_prod(*map(torch.arange, output.shape[1:])).tolist():
            plane = features[int(roi[0]), c]
            value = read_roi_point(plane, y[k, c, i, j].item(), x[k, c, i, j].item())
            assert value == pytest.approx(output[k, c, i, j].item())


def test_a_roi_without_extent_gives_zero_and_no_gradient():
    features = _features()
    nothing = torch.tensor([[0, 3.0, 3.0, 3.0, 3.0]], dtype=torch.float64)
    for mode in ("avg", "max"):
        pooled = mmcv.ops.roi_align(features, nothing, SIZE, SCALE, 0, mode, True)
        (grad,) = torch.autograd.grad(pooled.sum(), features)
        assert not pooled.any() and not grad.any()


def test_large_rois_are_read_in_passes(monkeypatch):
    from mmattn.bridge.ext import roi_sampling

    features = _features()
    offset = torch.randn(len(ROIS), 2, *SIZE, dtype=torch.float64)

    def run() -> list[Tensor]:
        outputs = [
            mmcv.ops.roi_align(features, ROIS, SIZE, SCALE, 0, "max", True),
            mmcv.ops.roi_pool(features, ROIS, SIZE, SCALE),
            mmcv.ops.deform_roi_pool(features, ROIS, offset, SIZE, SCALE, 0),
        ]
        return [*outputs, *(torch.autograd.grad(o.sum(), features)[0] for o in outputs)]

    whole = run()
    monkeypatch.setattr(roi_sampling, "_READS_PER_PASS", 1)
    for expected, found in zip(whole, run(), strict=True):
        torch.testing.assert_close(found, expected)


def test_roi_pool_takes_the_maximum_pixel_of_each_bin():
    features = _features()
    pooled = mmcv.ops.roi_pool(features, ROIS, SIZE, SCALE)
    expected = torch.zeros_like(pooled)
    height, width = features.shape[2:]
    for k, (image, x1, y1, x2, y2) in enumerate(ROIS.tolist()):
        top, left = y1 * SCALE, x1 * SCALE
        bin_h = ((y2 + 1) * SCALE - top) / SIZE[0]
        bin_w = ((x2 + 1) * SCALE - left) / SIZE[1]
        for i in range(SIZE[0]):
            for j in range(SIZE[1]):
                rows = range(math.floor(top + i * bin_h), math.ceil(top + (i + 1) * bin_h))
                columns = range(math.floor(left + j * bin_w), math.ceil(left + (j + 1) * bin_w))
                for c in range(2):
                    pixels = [
                        features[int(image), c, y, x].item()
                        for y in rows
                        for x in columns
                        if 0 <= y < height and 0 <= x < width
                    ]
                    expected[k, c, i, j] = max(pixels, default=0.0)
    torch.testing.assert_close(pooled, expected)
    assert gradcheck(lambda f: mmcv.ops.roi_pool(f, ROIS, SIZE, SCALE), features)


def test_roi_pool_of_a_reversed_roi_has_no_gradient():
    features = _features()
    # From column 4.8 back to 4.75: no extent, although pixel 4 lies around both.
    reversed_roi = torch.tensor([[0, 9.6, 2.0, 8.5, 9.0]], dtype=torch.float64)
    pooled = mmcv.ops.roi_pool(features, reversed_roi, SIZE, SCALE)
    (grad,) = torch.autograd.grad(pooled.sum(), features)
    assert not pooled.any() and not grad.any()


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("moved", [True, False])
def test_deform_roi_pool_averages_moved_bins(moved, ratio, read_roi_point, roi_points):
    features = _features()
    gamma = 0.2
    offset = torch.randn(len(ROIS), 2, *SIZE, dtype=torch.float64, requires_grad=True)
    shift = offset if moved else None
    pooled = mmcv.ops.deform_roi_pool(features, ROIS, shift, SIZE, SCALE, ratio, gamma)
    expected = torch.zeros_like(pooled)
    for k, roi in enumerate(ROIS.tolist()):
        points = roi_points(roi, SIZE, SCALE, ratio, shift=0.5)
        width, height = (roi[3] - roi[1]) * SCALE, (roi[4] - roi[2]) * SCALE
        for c in range(2):
            plane = features[int(roi[0]), c].detach()
            for i in range(SIZE[0]):
                for j in range(SIZE[1]):
                    dx = gamma * width * offset[k, 0, i, j].item() * moved
                    dy = gamma * height * offset[k, 1, i, j].item() * moved
                    values = [read_roi_point(plane, y + dy, x + dx) for y, x in points[i][j]]
                    expected[k, c, i, j] = sum(values) / len(values)
    torch.testing.assert_close(pooled, expected)

    def run(features, *offset):
        shift = offset[0] if offset else None
        return mmcv.ops.deform_roi_pool(features, ROIS, shift, SIZE, SCALE, ratio, gamma)

    assert gradcheck(run, (features, offset) if moved else (features,))


def test_deform_roi_pool_packs_train():
    features = _features().detach().float()
    for pack in (mmcv.ops.DeformRoIPoolPack, mmcv.ops.ModulatedDeformRoIPoolPack):
        module = pack(SIZE, 2, 8, SCALE)
        module(features, ROIS.float()).square().sum().backward()
        assert module.offset_fc[-1].weight.grad.abs().sum() > 0


POOLS = {
    "roi_align avg": lambda f, r: mmcv.ops.RoIAlign(SIZE, SCALE, 2)(f, r),
    "roi_align max": lambda f, r: mmcv.ops.RoIAlign(SIZE, SCALE, 2, "max")(f, r),
    "roi_pool": lambda f, r: mmcv.ops.RoIPool(SIZE, SCALE)(f, r),
    "deform_roi_pool": lambda f, r: mmcv.ops.DeformRoIPool(SIZE, SCALE, 2)(f, r),
}


@pytest.mark.parametrize("name", POOLS)
def test_no_rois_give_an_empty_output_and_a_zero_gradient(name):
    features = _features()
    pooled = POOLS[name](features, ROIS[:0])
    assert pooled.shape == (0, 2, *SIZE)
    (grad,) = torch.autograd.grad(pooled.sum(), features)
    assert not grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", POOLS)
def test_half_precisions_round_once(name, dtype):
    features = _features().detach().to(dtype).requires_grad_()
    rois = ROIS.to(dtype)
    pooled = POOLS[name](features, rois)
    exact = features.detach().float().requires_grad_()
    expected = POOLS[name](exact, rois.float())
    assert torch.equal(pooled, expected.to(dtype))
    (grad,) = torch.autograd.grad(pooled.sum(), features)
    (expected_grad,) = torch.autograd.grad(expected.sum(), exact)
    if name == "roi_align max":
        return  # mmcv keeps the maxima's places in the features' type: they are rounded there
    torch.testing.assert_close(grad, expected_grad.to(dtype))
