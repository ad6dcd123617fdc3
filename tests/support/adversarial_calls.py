"""Calls of operators with arguments that are wrong in shape, type, layout, device or value.

Each begins as one of the random calls of the operator's own tests, most of which are right, and
gets up to two things wrong.
"""

from __future__ import annotations

import importlib
import math
import random
import warnings
from typing import Any

import torch
from torch import Tensor

from mmattn.ops import use_backend
from mmattn.testing.op_tester import OpTester, Sample

#: Operator -> its class of tests.
TESTERS = {
    "apply_gates": "TestApplyGates",
    "criss_cross": "TestCrissCross",
    "depthwise_conv2d": "TestDepthwiseConv2d",
    "gated_channel_pool": "TestGatedChannelPool",
    "global_avg_max_pool": "TestGlobalAvgMaxPool",
    "modulated_deform_conv2d": "TestModulatedDeformConv2d",
    "multi_scale_deformable_attention": "TestMultiScaleDeformableAttention",
    "neighborhood_attention": "TestNeighborhoodAttention",
    "row_column_means": "TestRowColumnMeans",
    "window_attention": "TestWindowAttention",
}
#: What a wrong call may raise.
REFUSALS = (TypeError, ValueError, RuntimeError, NotImplementedError)
DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.int64, torch.uint8),
    *(torch.bool, torch.float8_e4m3fn),
)


def tester_of(op: str) -> type[OpTester]:
    """Return the tests of an operator."""
    return getattr(importlib.import_module(f"tests.ops.test_{op}"), TESTERS[op])


def spoil(value: Tensor, rng: random.Random) -> Any:
    """Return a tensor with something wrong, or merely odd, about it."""
    if value.layout != torch.strided or value.is_meta:  # spoilt already
        return value.detach()
    kind = rng.choice(
        ["dtype", "meta", "fewer", "more", "cut", "longer", "empty", "huge view", "strides",
         "transposed", "nan", "inf", "large", "none", "list", "sparse", "conjugate", "negative",
         "overlapping", "inference"]
    )  # fmt: skip
    plain = value.detach()
    if kind == "dtype":
        return plain.to(rng.choice(DTYPES))
    if kind == "meta":
        return plain.to("meta")
    if kind == "fewer":
        return plain.sum(0) if plain.ndim else plain
    if kind == "more":
        return plain.unsqueeze(rng.randint(0, plain.ndim))
    if plain.ndim and kind in ("cut", "longer", "empty"):
        axis = rng.randrange(plain.ndim)
        size = plain.shape[axis]
        if kind == "longer":
            return torch.cat([plain, plain.narrow(axis, 0, min(size, 1))], axis)
        return plain.narrow(axis, 0, 0 if kind == "empty" else max(size - 1, 0))
    if kind == "huge view" and plain.ndim and plain.numel():
        sizes = list(plain.shape)
        sizes[rng.randrange(len(sizes))] = 2 ** rng.choice([31, 33])
        return plain.flatten()[:1].as_strided(sizes, [0] * len(sizes)).to("meta")
    if kind == "strides" and plain.ndim:
        return torch.stack([plain, plain], -1)[..., 0]
    if kind == "transposed" and plain.ndim > 1:
        axes = rng.sample(range(plain.ndim), 2)
        return plain.transpose(*axes).contiguous().transpose(*axes)
    if kind in ("nan", "inf", "large") and plain.is_floating_point() and plain.numel():
        odd = plain.clone(memory_format=torch.contiguous_format)
        odd.view(-1)[rng.randrange(odd.numel())] = {
            "nan": math.nan, "inf": rng.choice([math.inf, -math.inf]), "large": 3e38,
        }[kind]  # fmt: skip
        return odd
    if kind == "none":
        return None
    if kind == "list":
        return plain.tolist()
    if kind == "sparse" and plain.ndim:
        return plain.to_sparse()
    if kind == "conjugate":
        return plain.to(torch.complex64).conj()
    if kind == "negative" and plain.is_floating_point():
        return torch._neg_view(plain)
    if kind == "overlapping" and plain.ndim and plain.numel():
        return plain[:1].expand(plain.shape)
    if kind == "inference":
        with torch.inference_mode():
            return plain.clone()
    return plain


def spoil_number(value: Any, rng: random.Random) -> Any:
    """Return another number, or what is none, for a setting such as a stride."""
    return rng.choice(
        [0, -1, 1.5, 2**31, 2**63, None, "x", (1,), (1, 2, 3), [], True, math.nan, (2**40, 1)]
    )


def random_call(op: str, seed: int) -> Sample:
    """Return the call of this number; it is the same every time."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    call = tester_of(op).random_call(rng)
    args, kwargs = list(call.args), dict(call.kwargs)
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        places = [(args, i) for i in range(len(args))] + [(kwargs, key) for key in kwargs]
        held, place = rng.choice(places)
        value = held[place]
        if isinstance(value, Tensor):
            held[place] = spoil(value, rng)
        else:
            held[place] = spoil_number(value, rng)
    return Sample(tuple(args), kwargs)


def outcome(op: str, seed: int) -> str:
    """Make a call and return ``refused``, ``right`` or what else became of it.

    Raises:
        AssertionError: The fast backend and plain torch do not agree.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the spoiling does
        call = random_call(op, seed)
    function = tester_of(op).function
    results = []
    for backend in (None, "reference"):
        try:
            with use_backend(backend):
                found = function(*call.args, **call.kwargs)
        except REFUSALS:
            found = None
        results.append(found)
    ours, plain = results
    if ours is None:  # a kernel has limits that plain torch has not
        return "refused" if plain is None else "refused by the fast backend"
    assert plain is not None, "the fast backend computes what plain torch refuses"
    for one, other in zip(_tensors(ours), _tensors(plain), strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        if one.device.type == "meta":
            return "right, on meta"
        _compare(one, other)
    return "right"


def _tensors(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)


def _compare(one: Tensor, other: Tensor) -> None:
    if not one.is_floating_point() or not one.numel():
        return
    one, other = one.detach().double(), other.detach().double()
    known = torch.isfinite(one) & torch.isfinite(other)
    # An infinity minus another one, or a number near the end of the range, depends on the order.
    if not known.all():
        return
    scale = other.abs().max().item() if other.numel() else 0.0
    assert (one - other).abs().max().item() <= 0.05 * max(scale, 1.0)
