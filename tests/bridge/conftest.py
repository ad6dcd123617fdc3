"""Helpers for comparing mmcv's ops with loops over single numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def read_roi_point():
    """Bilinear reading of one plane at one point by RoIAlign's border rule."""

    def read(plane: Tensor, y: float, x: float) -> float:
        height, width = plane.shape
        if y < -1 or y > height or x < -1 or x > width:
            return 0.0
        y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
        total = 0.0
        for row in range(height):
            for column in range(width):
                weight = max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
                total += weight * plane[row, column].item()
        return total

    return read


@pytest.fixture
def read_zero_padded():
    """Bilinear reading of one plane at one point, 0 outside."""

    def read(plane: Tensor, y: float, x: float) -> float:
        height, width = plane.shape
        total = 0.0
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    weight = (1 - abs(y - row)) * (1 - abs(x - column))
                    total += weight * plane[row, column].item()
        return total

    return read


@pytest.fixture
def roi_points():
    """The sampling points of one RoI: ``[row of bins][column of bins] -> [(y, x), ...]``."""

    def points(roi, size, scale, ratio, *, shift, min_size=None):
        left, top, right, bottom = (float(corner) * scale - shift for corner in roi[1:])
        height, width = bottom - top, right - left
        if min_size is not None:
            height, width = max(height, min_size), max(width, min_size)
        bin_h, bin_w = height / size[0], width / size[1]
        down = ratio if ratio > 0 else math.ceil(bin_h)
        across = ratio if ratio > 0 else math.ceil(bin_w)
        return [
            [
                [
                    (top + (i + (m + 0.5) / down) * bin_h, left + (j + (n + 0.5) / across) * bin_w)
                    for m in range(down)
                    for n in range(across)
                ]
                for j in range(size[1])
            ]
            for i in range(size[0])
        ]

    return points
