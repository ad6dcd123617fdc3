"""Parameter randomisation (Adebayo et al., NeurIPS 2018, arXiv:1810.03292).

A map that stays as it is when the network is made random does not show what the network has learnt.
Layers are drawn anew from the output downwards, more and more of them, and the maps are compared
with the first one. Norms keep their weights and statistics. A usable method falls to the level of
unrelated maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from mmattn.errors import MMAttnError

from .explanation import Explanation, to_unit
from .faithfulness import spearman
from .networks import Network, Sample, evaluation

#: Shares of the layers, from the output on, that are drawn anew.
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass
class SanityResult:
    """Similarity of maps of a network that becomes random to that of the trained one.

    Attributes:
        shares: Share of the layers that was drawn anew at each step.
        spearman: Rank correlation at each step, mean over the seeds.
        spearman_of_sizes: The same of absolute values.
        ssim: Structural similarity.
        unrelated: Mean of the rank correlation with random maps of the same grid, and its
            standard deviation.
        missing: Maps that could not be made, of all, because nothing was found any more.
    """

    shares: list[float] = field(default_factory=list)
    spearman: list[float] = field(default_factory=list)
    spearman_of_sizes: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    unrelated: tuple[float, float] = (0.0, 0.0)
    missing: int = 0


def check_randomisation(
    network: Network,
    sample: Sample,
    first: Explanation,
    again: Callable[[], Explanation],
    *,
    seeds: int = 5,
    shares: tuple[float, ...] = SHARES,
) -> SanityResult:
    """Compare a map with those of the same network with random layers.

    Args:
        network: Network; its weights are put back at the end.
        sample: Image.
        first: Map of the trained network.
        again: Makes the map once more, with the weights as they are.
        seeds: How often every step is repeated.
        shares: Share of the layers, from the output on, at each step.
    """
    assert first.values is not None
    layers = layers_from_the_output(network, sample)
    result = SanityResult(shares=list(shares))
    for share in shares:
        some = layers[: max(1, round(share * len(layers)))]
        found = []
        for seed in range(seeds):
            with randomised(some, seed):
                try:
                    values = again().values
                except MMAttnError:  # a random detector finds nothing, or takes another level
                    values = None
            if values is None or values.shape != first.values.shape:
                result.missing += 1
            else:
                found.append(_similarity(first.values, values))
        means = np.mean(found, 0) if found else (float("nan"),) * 3
        result.spearman.append(float(means[0]))
        result.spearman_of_sizes.append(float(means[1]))
        result.ssim.append(float(means[2]))
    generator = np.random.default_rng(0)
    others = [spearman(first.values, generator.random(first.values.shape)) for _ in range(20)]
    result.unrelated = float(np.mean(others)), float(np.std(others))
    return result


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    return spearman(a, b), spearman(np.abs(a), np.abs(b)), structural_similarity(a, b)


def structural_similarity(a: np.ndarray, b: np.ndarray, side: int = 7) -> float:
    """Return the mean structural similarity of two maps, each scaled to [0, 1]."""
    from scipy.ndimage import uniform_filter

    x, y = to_unit(a), to_unit(b)
    mean = lambda values: uniform_filter(values, side, mode="nearest")  # noqa: E731
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(value.mean())


def layers_from_the_output(network: Network, sample: Sample) -> list[nn.Module]:
    """Return the modules that own parameters, but for norms, in reverse order of execution."""
    model: nn.Module = network.model
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with evaluation(model), torch.no_grad():
            network(sample.inputs, sample, queries=network.has_mask_queries)
    finally:
        for handle in handles:
            handle.remove()
    last = {name: index for index, name in enumerate(order)}
    owners: list[tuple[int, nn.Module]] = []
    for name, module in model.named_modules():
        if not list(module.parameters(recurse=False)) or _is_norm(module):
            continue
        called = name
        while called and called not in last:  # its parameters are used by a module around it
            called = called.rpartition(".")[0]
        if called:
            owners.append((last[called], module))
    return [module for _, module in sorted(owners, key=lambda pair: -pair[0])]


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm))


@contextmanager
def randomised(layers: list[nn.Module], seed: int) -> Iterator[None]:
    """Draw the parameters of layers anew; the trained ones are back at the end.

    A layer draws as it does when it is made; parameters of one that has no rule for it are drawn
    from a normal distribution of their own mean and spread.
    """
    kept: list[tuple[Any, torch.Tensor]] = [
        (parameter, parameter.detach().clone())
        for layer in layers
        for parameter in layer.parameters(recurse=False)
    ]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for layer in layers:
                reset = getattr(layer, "reset_parameters", None)
                if callable(reset) and not list(layer.children()):
                    reset()
                    continue
                for parameter in layer.parameters(recurse=False):
                    spread = float(parameter.std()) if parameter.numel() > 1 else 1.0
                    drawn = torch.randn(parameter.shape).to(parameter)
                    parameter.copy_(parameter.mean() + spread * drawn)
        yield
    finally:
        with torch.no_grad():
            for parameter, values in kept:
                parameter.copy_(values)
