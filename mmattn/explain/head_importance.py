"""Which heads a target rests on: factors xi = 1 on their outputs O_h before the output projection.

    leave-one-out   y(xi = 1) - y(xi_h = 0), one run of the network for each head
    Taylor          <O_h, dy/dO_h> = sum over A_h of A dy/dA, its first-order estimate, signed

Both are for one image. Their mean over images, and that of |Taylor|, which is the gradient of
pruning (Michel et al., NeurIPS 2019, arXiv:1905.10650), stand in the summary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmattn.errors import ConfigError

from .attention.heads import scaled_heads, without_head
from .attention.layer import Attention
from .attention.record import extractor_of, recorded_attention
from .attention.views import attention_modules
from .explanation import Explanation, NothingToShow
from .layers import short_names
from .networks import Network, Sample, evaluation
from .target import Target

#: Most heads that are left out one by one.
MOST_RUNS = 64
#: Heads that are named below a picture.
_NAMED = 3


def head_importances(
    network: Network, sample: Sample, target: Target, at: str = "auto"
) -> list[Explanation]:
    """Show what each head of the layers gives to a target: Taylor's estimate and leaving it out.

    Args:
        network: Network.
        sample: Image.
        target: What y is; of a detection, whose number may be another one without a head, the score
            of the boxes there is what leaving out changes.
        at: Name or pattern of modules; ``auto`` takes all layers with several heads.

    Raises:
        NothingToShow: No layer has several heads.
        ConfigError: y does not depend on any of them.
    """
    modules = attention_modules(network.model, at)
    modules = {name: m for name, m in modules.items() if extractor_of(m) is not None}
    padded = sample.placement.padded
    with evaluation(network.model), torch.enable_grad():
        inputs = sample.inputs.detach().requires_grad_()
        with recorded_attention(modules, padded, model=network.model) as records:
            y = target(network(inputs, sample, queries=target.kind == "query"))
        records = [record for record in records if len(record.weights) > 1]
        if not records:
            raise NothingToShow(f"--at {at}: no layer there has several heads")
        if not y.requires_grad:
            raise ConfigError("the predictions of this head carry no gradient")
        gradients = torch.autograd.grad(y, [r.raw for r in records], allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise ConfigError("the target depends on none of these layers")
    taylor = [taylor_of(r, g) for r, g in zip(records, gradients, strict=True)]
    found = [_explanation("Taylor", records, taylor)]
    runs = sum(map(len, taylor))
    if runs > MOST_RUNS:
        found[0].notes.append(
            f"{runs} heads are too many to leave each out (at most {MOST_RUNS}); --at names fewer"
        )
        return found
    whole = _without(network, sample, target, None)
    left_out = [
        np.array([whole - _without(network, sample, target, (record, head)) for head in range(n)])
        for record, n in zip(records, map(len, taylor), strict=True)
    ]
    what = "loss of score" if target.kind == "detection" else "loss of y"
    return [_explanation(f"leave-one-out, {what}", records, left_out), *found]


def taylor_of(record: Attention, gradient: Tensor | None) -> np.ndarray:
    """Return <O_h, dy/dO_h> of each head, (heads,), from the weights and their gradient."""
    if gradient is None:
        return np.zeros(len(record.weights))
    product = record.arrange(gradient).double() * record.weights.double()
    return product.sum((1, 2)).cpu().numpy()


def _without(
    network: Network, sample: Sample, target: Target, left: tuple[Attention, int] | None
) -> float:
    """Return y, of a detection its score, with a head of a layer left out."""
    with evaluation(network.model), torch.no_grad():
        if left is None:
            outputs = network(sample.inputs, sample, queries=target.kind == "query")
        else:
            record, head = left
            module = network.model.get_submodule(record.name)
            factors = without_head(len(record.weights), head)
            with scaled_heads(module, factors, max(record.call, 1)):
                outputs = network(sample.inputs, sample, queries=target.kind == "query")
        if target.kind == "detection":
            return target.faithful_score(outputs)
        return float(target(outputs))


def _explanation(
    name: str, records: Sequence[Attention], values: Sequence[np.ndarray]
) -> Explanation:
    first, last = records[0].name, records[-1].name
    layers = [f"{r.name}, call {r.call}" if r.call else r.name for r in records]
    place = last if first == last else f"{first} to {last}"
    found = Explanation("heads", name, place, channels=np.concatenate(values))
    found.parts = tuple((layer, len(of)) for layer, of in zip(layers, values, strict=True))
    counts = [count for _, count in found.parts]
    short = short_names(layers) if len(layers) > 1 else [""]
    named = [(layer, head) for layer, n in zip(short, counts, strict=True) for head in range(n)]
    all_heads = np.concatenate(values)
    for index in np.argsort(-np.abs(all_heads), kind="stable")[:_NAMED]:
        layer, head = named[index]
        found.notes.append(f"{layer}{layer and ', '}head {head}: {all_heads[index]:.3g}")
    return found
