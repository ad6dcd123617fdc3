"""Recorded attention: it reproduces each layer, its rows sum to 1, and keys are where they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttention
from mmdet.models.backbones.swin import ShiftWindowMSA
from mmdet.models.layers.transformer.utils import ConditionalAttention
from torch import Tensor, nn

from mmattn.errors import ConfigError
from mmattn.explain.attention.deformable import corners_of, deformable
from mmattn.explain.attention.heads import scaled_heads, without_head
from mmattn.explain.attention.layer import Attention
from mmattn.explain.attention.measure import measure
from mmattn.explain.attention.record import recorded_attention
from mmattn.explain.head_importance import taylor_of
from mmattn.explain.statistics import summarize
from mmattn.projects.ccnet import CrissCrossAttention
from mmattn.projects.mask2former.attention import MultiheadAttention as OurAttention
from mmattn.projects.mask2former.deformable_attention import (
    DeformableSelfAttention,
    pixel_centres,
)
from mmattn.projects.nat.attention import NeighborhoodAttention
from mmattn.projects.yolov12 import AreaAttention

SHAPES = [(4, 5), (2, 3)]
Case = tuple[nn.Module, tuple, dict]


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def shaken(module: nn.Module) -> nn.Module:
    """Give all parameters random values: many start at 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def torch_attention() -> Case:
    x = randn(1, 12, 16)
    blocked = torch.zeros(12, 12, dtype=torch.bool)
    blocked[3, 5:] = True
    return nn.MultiheadAttention(16, 4, batch_first=True), (x, x, x), {"attn_mask": blocked}


def mmcv_attention() -> Case:
    query, key = randn(7, 1, 16), randn(12, 1, 16)
    padding = torch.zeros(1, 12, dtype=torch.bool)
    padding[0, 9:] = True
    return MultiheadAttention(16, 2), (query, key, key), {"key_padding_mask": padding}


def our_attention() -> Case:
    query, key = randn(1, 5, 16), randn(1, 12, 16)
    allowed = torch.rand(1, 1, 5, 12, generator=torch.Generator().manual_seed(0)) < 0.6
    allowed[..., 0] = True
    return OurAttention(16, 4), (query, key, key, allowed), {}


def conditional(cross: bool, first: bool = False) -> Case:
    query, places = randn(1, 5, 16), randn(1, 5, 16) / 2
    if not cross:
        return ConditionalAttention(16, 2), (query, query), {"query_pos": places}
    padding = torch.zeros(1, 12, dtype=torch.bool)
    padding[0, 9:] = True
    kwargs = {
        "query_pos": places,
        "key_pos": randn(1, 12, 16),
        "ref_sine_embed": randn(1, 5, 16) / 3,
        "key_padding_mask": padding,
        "is_first": first,
    }
    return ConditionalAttention(16, 2, cross_attn=True), (query, randn(1, 12, 16)), kwargs


def windows(shift: int, grid: tuple[int, int] = (8, 12)) -> Case:
    return ShiftWindowMSA(16, 2, 4, shift_size=shift), (randn(1, grid[0] * grid[1], 16), grid), {}


def our_deformable() -> Case:
    x, places = randn(1, 26, 16), pixel_centres(SHAPES)
    return DeformableSelfAttention(16, 2, 2, 3), (x, randn(26, 16), places, SHAPES), {}


def mmcv_deformable() -> Case:
    places = torch.rand(1, 5, 2, 4, generator=torch.Generator().manual_seed(0))
    kwargs = {
        "value": randn(26, 1, 16),
        "query_pos": randn(5, 1, 16),
        "reference_points": places,
        "spatial_shapes": torch.tensor(SHAPES),
        "level_start_index": torch.tensor([0, 20]),
    }
    return MultiScaleDeformableAttention(16, 2, 2, 3), (randn(5, 1, 16),), kwargs


CASES: dict[str, Callable[[], Case]] = {
    "torch": torch_attention,
    "mmcv": mmcv_attention,
    "mask2former": our_attention,
    "conditional": lambda: conditional(cross=True),
    "conditional, first": lambda: conditional(cross=True, first=True),
    "conditional, self": lambda: conditional(cross=False),
    "swin": lambda: windows(0),
    "swin, shifted": lambda: windows(2),
    "swin, shifted and padded": lambda: windows(2, (6, 9)),
    "deformable": our_deformable,
    "deformable of mmcv": mmcv_deformable,
    "criss-cross": lambda: (CrissCrossAttention(16, recurrence=2), (randn(1, 16, 5, 7),), {}),
    "area": lambda: (AreaAttention(32, areas=4, head_channels=16), (randn(1, 32, 5, 7),), {}),
    "neighborhood": lambda: (
        NeighborhoodAttention(16, num_heads=2, kernel_size=3, dilation=2),
        (randn(1, 16, 7, 8),),
        {},
    ),
    "neighborhood, small": lambda: (
        NeighborhoodAttention(16, num_heads=2, kernel_size=5, small_map="pad"),
        (randn(1, 16, 4, 8),),
        {},
    ),
}


def record(name: str) -> tuple[list[Attention], Tensor, Tensor, nn.Module]:
    """Return the records, the output with and the one without recording, and the module."""
    module, args, kwargs = CASES[name]()
    shaken(module)
    plain = module(*args, **kwargs)
    modules = dict(module.named_modules())
    with recorded_attention(modules, (32, 48)) as records:
        recorded = module(*args, **kwargs)
    return records, *(y[0] if isinstance(y, tuple) else y for y in (recorded, plain)), module


@pytest.mark.parametrize("name", CASES)
def test_recording_changes_nothing_and_leaves_nothing(name: str) -> None:
    records, recorded, plain, module = record(name)
    assert len(records) == (2 if name == "criss-cross" else 1)
    torch.testing.assert_close(recorded, plain, rtol=1e-5, atol=1e-5)
    assert not any(m._forward_hooks for m in module.modules())


@pytest.mark.parametrize("name", CASES)
def test_rows_sum_to_one_and_the_output_depends_on_the_weights(name: str) -> None:
    records, recorded, _, _ = record(name)
    for one in records:
        sums = one.weights.sum(-1)
        torch.testing.assert_close(sums, torch.ones_like(sums))
        (gradient,) = torch.autograd.grad(recorded.sum(), one.raw, retain_graph=True)
        assert one.arrange(gradient).shape == one.weights.shape
        matrix = np.asarray(one.matrix() if one.keys is None else one.matrix().todense())
        assert matrix.shape == (one.queries, one.tokens)
        np.testing.assert_allclose(one.row(2), matrix[2], atol=1e-7)
        heads = np.stack([one.of_head(head) for head in range(len(one.weights))])
        np.testing.assert_allclose(heads.mean(0), matrix, atol=1e-7)
        if one.shares is not None or name in ("neighborhood, small", "swin, shifted and padded"):
            assert (matrix.sum(1) < 1.00001).all() and matrix.sum() < one.queries - 0.1
        else:
            np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["swin, shifted", "neighborhood", "criss-cross", "torch"])
def test_the_matrix_times_the_values_is_what_the_layer_gathers(name: str) -> None:
    """With the identity for values and for the last projection, an output is a row times x."""
    module, args, kwargs = CASES[name]()
    shaken(module)
    x = args[0]
    tokens = x[0] if x.dim() == 3 else x[0].flatten(1).T  # (N, C)
    channels = tokens.shape[1]
    identity = torch.eye(channels)
    with torch.no_grad():
        if name == "torch":
            module.in_proj_weight[2 * channels :] = identity
            module.in_proj_bias[2 * channels :] = 0
            module.out_proj.weight.copy_(identity)
            module.out_proj.bias.zero_()
        elif name == "criss-cross":
            module.recurrence = 1
            module.value_conv.weight.copy_(identity[:, :, None, None])
            module.value_conv.bias.zero_()
            module.gamma.fill_(1)
        else:
            inner = module.w_msa if "swin" in name else module
            inner.qkv.weight[2 * channels :] = identity
            inner.qkv.bias[2 * channels :] = 0
            inner.proj.weight.copy_(identity)
            inner.proj.bias.zero_()
    with recorded_attention(dict(module.named_modules()), (32, 48)) as records, torch.no_grad():
        y = module(*args, **kwargs)
    y = y[0] if isinstance(y, tuple) else y
    y = y[0] if y.dim() == 3 else y[0].flatten(1).T
    y = y - tokens if name == "criss-cross" else y
    split = tokens.unflatten(1, (len(records[0].weights), -1)).double().numpy()
    gathered = [records[0].of_head(h) @ split[:, h] for h in range(split.shape[1])]
    np.testing.assert_allclose(np.concatenate(gathered, 1), y.numpy(), atol=2e-5)


def test_kinds_and_grids() -> None:
    kinds = {name: record(name)[0][0] for name in CASES}
    assert {name for name, one in kinds.items() if one.kind == "cross"} == {
        "mmcv",
        "mask2former",
        "conditional",
        "conditional, first",
        "deformable of mmcv",
    }
    assert kinds["swin"].query_grids == ((8, 12),)
    assert kinds["deformable"].query_grids == tuple(SHAPES)
    assert kinds["deformable of mmcv"].query_grids == ()


def test_a_layer_that_computes_something_else_is_refused() -> None:
    class Doubled(nn.MultiheadAttention):
        def forward(self, *args, **kwargs):  # type: ignore[override]
            return 2 * super().forward(*args, **kwargs)[0], None

    module, x = Doubled(8, 2), randn(3, 1, 8)
    with (
        recorded_attention({"layer": module}, (32, 32)),
        pytest.raises(ConfigError, match="layer: its attention, computed again"),
    ):
        module(x, x, x)


@pytest.mark.parametrize("name", [name for name in CASES if name != "criss-cross"])
def test_leaving_a_head_out_is_what_taylor_says_where_y_is_linear(name: str) -> None:
    """Of attention, y is linear in the heads; a head whose part of W_o is 0 gives nothing."""
    torch.manual_seed(0)
    module, args, kwargs = CASES[name]()
    shaken(module)

    def run() -> Tensor:
        y = module(*args, **kwargs)
        return y[0] if isinstance(y, tuple) else y

    with recorded_attention(dict(module.named_modules()), (32, 48)) as records:
        recorded = run()
    (record,) = records
    layer = module.get_submodule(record.name)
    last = ("out_proj", "output_proj", "proj")  # windows have theirs in a module inside
    projection = next(p for n, p in layer.named_modules() if n.rpartition(".")[2] in last)
    projection = getattr(projection, "conv", projection)
    heads = len(record.weights)
    with torch.no_grad():
        projection.weight[:, : projection.weight.shape[1] // heads] = 0
    with recorded_attention(dict(module.named_modules()), (32, 48)) as records:
        recorded = run()
    weight = randn(*recorded.shape)
    y = (recorded * weight).sum()
    (gradient,) = torch.autograd.grad(y, records[0].raw)
    taylor = taylor_of(records[0], gradient)

    def without(head: int | None) -> float:
        factors = torch.ones(heads) if head is None else without_head(heads, head)
        with torch.no_grad(), scaled_heads(layer, factors):
            return float((run() * weight).sum())

    rounding = 1e-6 * float((recorded.detach() * weight).abs().sum())  # of a sum of that many terms
    assert without(None) == pytest.approx(y.item(), abs=rounding), "xi = 1 changes nothing"
    left_out = [without(None) - without(head) for head in range(heads)]
    np.testing.assert_allclose(taylor, left_out, atol=rounding)
    assert abs(taylor[0]) < rounding < abs(taylor[1])
    assert not layer._forward_hooks


def test_points_between_pixels_are_shared() -> None:
    keys, shares = corners_of(torch.tensor([[[0.5, 0.5]]]).double(), [(4, 4)])
    assert sorted(keys.flatten().tolist()) == [5, 6, 9, 10]
    torch.testing.assert_close(shares.flatten(), torch.full((4,), 0.25).double())
    keys, shares = corners_of(torch.tensor([[[0.02, 0.6]]]).double(), [(3, 5)])
    found = {k: s for k, s in zip(keys.flatten().tolist(), shares.flatten().tolist(), strict=True)
             if k >= 0}  # fmt: skip
    assert found == pytest.approx({5: 0.42, 10: 0.18})


def deformable_example() -> Attention:
    """Two levels, 26 tokens, three queries of the first of two images, with y = sum(out^2) / 2."""
    n = torch.arange(2 * 26 * 2 * 4, dtype=torch.float64)
    value = torch.sin(0.7 * n).view(2, 26, 2, 4)
    n = torch.arange(2 * 3 * 2 * 2 * 2 * 2, dtype=torch.float64)
    places = (0.5 + 0.7 * torch.sin(1.3 * n)).view(2, 3, 2, 2, 2, 2)
    n = torch.arange(2 * 3 * 2 * 4, dtype=torch.float64)
    raw = torch.cos(n).view(2, 3, 2, 4).softmax(-1).view(2, 3, 2, 2, 2).requires_grad_()
    attention, out = deformable(raw, value, places, SHAPES)
    assert out.sum().item() == pytest.approx(0.181270, abs=1e-5)
    (attention.gradient,) = torch.autograd.grad(out.square().sum() / 2, raw)  # type: ignore[attr-defined]
    return attention


def test_deformable_attention_as_a_matrix_has_the_published_values() -> None:
    attention = deformable_example()
    row = attention.row(0, head=0)
    expected = {3: 0.0353003288, 4: 0.14503783, 20: 0.00347290581, 23: 0.0139936263}
    assert {i: v for i, v in enumerate(row) if v > 0} == pytest.approx(expected, rel=1e-6)
    assert row.sum() == pytest.approx(0.197804691, abs=1e-8)
    ahat = attention.positive(attention.gradient).toarray()[0]  # type: ignore[attr-defined]
    expected = {3: 0.00410859786, 4: 0.0168809226, 20: 7.42911122e-05, 21: 0.00178424837,
                22: 0.000521824276, 23: 0.0136308985}  # fmt: skip
    assert {i: v for i, v in enumerate(ahat) if v > 0} == pytest.approx(expected, rel=1e-6)


def criss_cross_pass(shift: int) -> Attention:
    height, width = 3, 4
    index = torch.arange(height * width).view(height, width)
    rows = index[:, None, :].expand(height, width, width)
    columns = index.T[None].expand(height, width, height)
    keys = torch.cat([rows, columns], 2).flatten(0, 1)
    query = torch.arange(12)[:, None]
    logits = torch.sin(1.3 * query.double() + 0.7 * keys.double() + shift)
    logits[:, width:] = logits[:, width:].masked_fill(keys[:, width:] == query, -torch.inf)
    raw = logits.softmax(-1)
    return Attention(raw, lambda a: a[None], "self", 12, keys=keys[None, :, :, None])


def test_criss_cross_attention_of_two_passes_has_the_published_values() -> None:
    first, second = criss_cross_pass(0), criss_cross_pass(2)
    row = second.row(6)
    expected = """0 0 0.0426964253 0 0.117556136 0.222041143 0.306096461 0.264817196 0 0
        0.0467926386 0"""
    np.testing.assert_allclose(row, np.array(expected.split(), float), atol=1e-9)
    expected = """0.0191952946 0.0885196457 0.0794038926 0.0168841575 0.12822486 0.113156312
        0.149055627 0.184316604 0.0098212581 0.0538327926 0.130298947 0.027290609"""
    composite = np.asarray(row @ first.matrix()).ravel()
    np.testing.assert_allclose(composite, np.array(expected.split(), float), atol=1e-9)


@pytest.mark.parametrize("name", ["torch", "swin, shifted", "criss-cross", "neighborhood"])
def test_statistics_of_a_sparse_layer_are_those_of_its_matrix(name: str) -> None:
    one = record(name)[0][0]
    found = measure(one)
    dense = np.stack([one.of_head(head) for head in range(len(one.weights))])
    grid = one.query_grids[0] if one.query_grids else None
    expected = summarize(dense, grid)
    for key, values in found.items():
        if key != "head_similarity":
            np.testing.assert_allclose(values, expected[key], atol=1e-6, err_msg=key)
    if grid is not None:
        assert {"mean_distance", "locality", "diagonal_mass"} <= set(found)
