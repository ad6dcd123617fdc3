"""Promise: parameters and operations are counted as papers count them."""

from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseModel, ImgDataPreprocessor
from torch import Tensor, nn

from mmattn.complexity import complexity, complexity_in_test, count_flops


def test_complexity_counts_two_operations_per_multiply_add() -> None:
    model = nn.Conv2d(3, 8, 3, padding=1)
    parameters, flops = complexity(model, torch.zeros(1, 3, 10, 12))
    assert parameters == 8 * 3 * 9 + 8
    assert flops == 2 * 10 * 12 * 8 * 3 * 9


def test_counting_without_computing_gives_the_same() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))
    _, flops = complexity(model.eval(), torch.zeros(1, 3, 10, 12))
    assert count_flops(model.to("meta"), 1, 3, 10, 12) == flops > 0


class Stacked(BaseModel):
    """A model of mmengine that is one convolution."""

    def __init__(self) -> None:
        super().__init__(ImgDataPreprocessor())
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, inputs: Tensor, data_samples: object = None, mode: str = "tensor") -> Tensor:
        assert not self.training
        return self.conv(inputs)


@pytest.mark.parametrize("training", [True, False])
def test_a_test_of_one_image_leaves_model_and_image_as_they_are(training: bool) -> None:
    image = torch.ones(3, 4, 5)
    model = Stacked().train(training)
    parameters, flops, shape = complexity_in_test(model, {"inputs": image})
    assert (parameters, flops, shape) == (8 * 3 + 8, 2 * 4 * 5 * 8 * 3, (1, 3, 4, 5))
    assert model.training is training
    assert torch.equal(image, torch.ones(3, 4, 5))
