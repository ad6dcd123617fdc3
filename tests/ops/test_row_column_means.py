"""Means of rows and columns: torch's means in float64 are the oracle."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from mmattn.ops import accumulate_dtype, row_column_means
from mmattn.testing.op_tester import OpTester, Sample


def image(*shape: int) -> Sample:
    """A call with random numbers."""
    generator = torch.Generator().manual_seed(shape[-1])
    return Sample((torch.randn(*shape, generator=generator, dtype=torch.float64),))


def both(x: Tensor) -> Tensor:
    """Both strips as one tensor, so that the gradients of both are tested."""
    return torch.cat(row_column_means(x), -1)


class TestRowColumnMeans(OpTester):
    op = "row_column_means"
    function = staticmethod(both)
    result_dtype = staticmethod(accumulate_dtype)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": image(2, 3, 5, 6),
            "empty batch": image(0, 3, 5, 6),
            "no channels": image(2, 0, 5, 6),
            "one pixel": image(2, 5, 1, 1),
            "prime sizes": image(2, 17, 11, 53),
            "one channel": image(3, 1, 7, 9),
            "tall": image(1, 3, 150, 4),
            "wide": image(1, 2, 3, 301),
            "many channels": image(1, 300, 20, 5),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        return {
            "three dimensions": (Sample((torch.zeros(4, 8, 8),)), ValueError),
            "whole numbers": (Sample((torch.zeros(1, 4, 8, 8, dtype=torch.long),)), TypeError),
            "no rows": (Sample((torch.zeros(1, 4, 0, 8),)), ValueError),
            "no columns": (Sample((torch.zeros(1, 4, 8, 0),)), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        shape = [rng.choice([0, 1, 2, 3, 17, 40]) for _ in range(4 if rng.random() < 0.9 else 3)]
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x = torch.randn(shape, dtype=dtype)
        if len(shape) == 4 and rng.random() < 0.5:
            x = x.contiguous(memory_format=torch.channels_last)
        return Sample((x.requires_grad_(rng.random() < 0.5),))

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        n, c, height, width = (rng.choice([0, 1, 2, 3, 17]) for _ in range(4))
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        rows = torch.randn(n, c, height, dtype=accumulate_dtype(dtype))
        columns = torch.randn(n, c, width, dtype=accumulate_dtype(dtype))
        wild = rng.randrange(8)  # some calls get one thing wrong
        if wild == 0:
            rows = rows[:, 0] if c else rows[..., None]
        elif wild == 1:
            columns = torch.randn(n + 1, c, width, dtype=accumulate_dtype(dtype))
        elif wild == 2:
            columns = columns.half()
        elif wild == 3:
            dtype = torch.int32
        if rng.random() < 0.5:
            x = torch.zeros(n, c, height, width, dtype=dtype)
            return "forward", (x if wild != 2 else x[0] if n else x[..., None],)
        return "backward", (rows, columns, dtype, rng.random() < 0.5)


@pytest.mark.gpu
class TestRowColumnMeansOnGpu(TestRowColumnMeans):
    device = "cuda"


def test_rows_are_rows() -> None:
    """Not square, so that exchanged sides could not hide."""
    x = torch.arange(12.0).view(1, 1, 3, 4)
    row_means, column_means = row_column_means(x)
    assert row_means.tolist() == [[[1.5, 5.5, 9.5]]]
    assert column_means.tolist() == [[[4.0, 5.0, 6.0, 7.0]]]
