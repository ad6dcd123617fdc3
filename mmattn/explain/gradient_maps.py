"""Gradient maps of a network: activations and gradients of a layer by hooks, then a formula."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import ConfigError

from .cam import METHODS, SIGNED, WITHOUT_TARGET
from .explanation import Explanation
from .layers import FeatureLayer, captured, feature_layer, reason_for_gradient
from .networks import Network, Sample, evaluation
from .target import Target


def gradient_map(
    network: Network, sample: Sample, target: Target, method: str, at: str = "auto"
) -> Explanation:
    """Explain a target by a layer's activations and gradients.

    Args:
        network: Network.
        sample: Image.
        target: What is explained.
        method: A key of ``cam.METHODS``.
        at: Name of the module, ``module[i]`` for the i-th of its maps, or ``auto``.

    Raises:
        ConfigError: The module is not there, is not called, returns no map, or y does not depend
            on it.
    """
    layer = feature_layer(network.model, at)
    name, activation, gradient, other = _activation_and_gradient(network, sample, target, layer)
    values = METHODS[method](activation, gradient)
    result = Explanation(
        method,
        target.name if method not in WITHOUT_TARGET else "first component",
        name,
        values.detach().double().cpu().numpy(),
        signed=method in SIGNED,
        kind="first component" if method in WITHOUT_TARGET else "the target",
        kind_of_layer=layer.name if layer.item is None else name,
    )
    if other is not None and method not in WITHOUT_TARGET:
        least = METHODS[method](activation, other).detach().double().cpu().numpy()
        result.numbers["class_sensitivity"] = correlation(result.values, least)
    return result


def _activation_and_gradient(
    network: Network, sample: Sample, target: Target, layer: FeatureLayer
) -> tuple[str, Tensor, Tensor, Tensor | None]:
    """Return the name of the map, A, dy/dA, and dy'/dA of the least likely class, (K, h, w)."""
    with evaluation(network.model), torch.enable_grad():
        inputs = sample.inputs.detach().requires_grad_()
        with captured(layer, sample.placement.padded) as kept:
            outputs = network(inputs, sample, queries=target.kind == "query")
        if kept.calls == 0:
            raise ConfigError(f"--at {layer.name}: the module is not called when an image is")
        if not kept.leaves:
            raise ConfigError(f"--at {layer.name}: the module returns no feature map")
        gradients = _gradients(target(outputs), kept.leaves, layer.name)
        item = layer.item
        if item is None:
            sizes = [0.0 if g is None else float(g.norm()) for g in gradients]
            item = int(np.argmax(sizes))
        elif not -len(kept.leaves) <= item < len(kept.leaves):
            raise ConfigError(
                f"--at {layer.name}[{item}]: the module returns {len(kept.leaves)} feature maps"
            )
        item %= len(kept.leaves)
        gradient = gradients[item]
        name = layer.name if len(kept.leaves) == 1 else f"{layer.name}[{item}]"
        if gradient is None:
            raise ConfigError(f"--at {name}: the target does not depend on its output")
        y = target.other(outputs)
        other = None if y is None else _gradients(y, kept.leaves, layer.name)[item]
    activation = kept.as_map(item, kept.leaves[item].detach())[0].double()
    shaped = [None if g is None else kept.as_map(item, g)[0].double() for g in (gradient, other)]
    assert shaped[0] is not None
    return name, activation, shaped[0], shaped[1]


def _gradients(y: Tensor, leaves: list[Tensor], layer: str) -> list[Tensor | None]:
    if not y.requires_grad:
        raise ConfigError(
            "the predictions of this head carry no gradient, so that no target can be explained "
            "by it; eigen-cam and attention need none"
        )
    try:
        return list(torch.autograd.grad(y, leaves, retain_graph=True, allow_unused=True))
    except RuntimeError as error:
        raise ConfigError(reason_for_gradient(error, layer)) from error


def correlation(a: np.ndarray | None, b: np.ndarray) -> float:
    """Return Pearson's correlation of two maps, 0 where one of them is constant."""
    assert a is not None
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0
