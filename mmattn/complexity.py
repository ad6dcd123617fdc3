"""Complexity of a network: its parameters, and the operations of a forward pass.

Operations are those of convolutions and matrix products, 2 per multiply-add, as
``torch.utils.flop_counter`` counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Count the parameters of a network, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_flops(module: nn.Module, *shape: int) -> int:
    """Count the operations of a module without computing anything.

    The module has to be on the meta device; it is in eval mode afterwards.

    Args:
        module: Module that takes one tensor.
        *shape: Shape of the tensor.
    """
    module.eval()
    with torch.device("meta"):
        return _operations(lambda: module(torch.empty(shape)))


def complexity(model: nn.Module, inputs: Tensor) -> tuple[int, int]:
    """Count the parameters, and the floating point operations of one forward pass.

    Args:
        model: Network that is called as ``model(inputs)``.
        inputs: Batch of the size in question.

    Returns:
        Parameters and operations.
    """
    return count_parameters(model), _operations(lambda: model(inputs))


def complexity_in_test(
    model: Any, sample: Mapping[str, Any]
) -> tuple[int, int, tuple[int, int, int, int]]:
    """Count the parameters of a model, and the operations of the test of one image.

    Args:
        model: A model of mmengine, before its layers are fused.
        sample: One image as the test pipeline packs it: ``inputs`` and ``data_samples``. It is not
            changed.

    Returns:
        Parameters, operations (see ``complexity``), and the shape (N, C, H, W) that the network
        gets: resized and padded.
    """
    batch = {key: [value.clone()] for key, value in sample.items()}
    prepared = model.data_preprocessor(batch, False)["inputs"]
    batch = {key: [value.clone()] for key, value in sample.items()}
    training = model.training
    model.eval()
    try:
        flops = _operations(lambda: model.test_step(batch))
    finally:
        model.train(training)
    return count_parameters(model), flops, tuple(prepared.shape)


def _operations(call: Callable[[], Any]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
