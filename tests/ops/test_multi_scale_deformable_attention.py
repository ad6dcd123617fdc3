"""Multi-scale deformable attention: sampling by torch's grid_sample in float64 is the oracle."""

from __future__ import annotations

import io
import math
import os
import random
import re
import subprocess
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import (
    OPERATORS,
    build,
    export_deform_attention_as,
    multi_scale_deformable_attention,
    use_backend,
)
from mmattn.testing.op_tester import OpTester, Sample

OP = OPERATORS["multi_scale_deformable_attention"]


def pyramid(
    batch: int, queries: int, heads: int, channels: int, shapes, points: int, *, starts=None
) -> Sample:
    """A call with random numbers; a quarter of the points lie beyond the maps, some far away."""
    generator = torch.Generator().manual_seed(queries * 31 + channels)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    levels = len(shapes)
    pixels = sum(h * w for h, w in shapes) if starts is None else starts[-1] + math.prod(shapes[-1])
    weights = draw(batch, queries, heads, levels * points).softmax(-1)
    return Sample(
        (
            draw(batch, pixels, heads, channels),
            shapes,
            0.5 + 0.5 * draw(batch, queries, heads, levels, points, 2),
            weights.view(batch, queries, heads, levels, points),
        ),
        {} if starts is None else {"level_start_index": starts},
    )


class TestMultiScaleDeformableAttention(OpTester):
    op = "multi_scale_deformable_attention"
    function = staticmethod(multi_scale_deformable_attention)

    @staticmethod
    def samples() -> dict[str, Sample]:
        return {
            "small": pyramid(2, 3, 2, 3, [(3, 4), (2, 2)], 2),
            "empty batch": pyramid(0, 3, 2, 4, [(3, 4)], 2),
            "no queries": pyramid(2, 0, 2, 4, [(3, 4)], 2),
            "one pixel": pyramid(2, 5, 2, 4, [(1, 1)], 3),
            "prime sizes": pyramid(2, 17, 3, 19, [(13, 7), (5, 11), (1, 3)], 5),
            "as in use": pyramid(1, 23, 4, 32, [(7, 9), (4, 5), (2, 3)], 4),
            "more queries than pixels": pyramid(1, 41, 2, 16, [(2, 3), (1, 2)], 4),
            "wide heads": pyramid(1, 3, 1, 150, [(5, 4)], 3),
            "many points": pyramid(1, 3, 2, 8, [(6, 5), (3, 2)], 37),
            "gaps between levels": pyramid(2, 6, 2, 16, [(3, 4), (2, 3)], 4, starts=[1, 15]),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        v, shapes = torch.zeros(1, 6, 2, 4), [(2, 3)]
        loc, w = torch.zeros(1, 5, 2, 1, 4, 2), torch.zeros(1, 5, 2, 1, 4)
        call = lambda *args, **kwargs: Sample(args, kwargs)  # noqa: E731
        return {
            "whole numbers": (call(v.long(), shapes, loc, w), TypeError),
            "three dimensions": (call(v[0], shapes, loc, w), ValueError),
            "no coordinates": (call(v, shapes, loc[..., 0], w), ValueError),
            "three coordinates": (call(v, shapes, torch.zeros(1, 5, 2, 1, 4, 3), w), ValueError),
            "a head too few": (call(v, shapes, loc[:, :, :1], w[:, :, :1]), ValueError),
            "weights of other queries": (call(v, shapes, loc, w[:, :4]), ValueError),
            "two devices": (call(v, shapes, loc.to("meta"), w), ValueError),
            "a pixel too many": (call(v, [(1, 7)], loc, w), ValueError),
            "a level too many": (call(v, [(1, 3), (1, 3)], loc, w), ValueError),
            "an empty level": (call(v, [(0, 3)], loc, w), ValueError),
            "a negative size": (call(v, [(-2, -3)], loc, w), ValueError),
            "a fraction": (call(v, [(2.0, 3)], loc, w), TypeError),
            "three sizes": (call(v, [(1, 2, 3)], loc, w), ValueError),
            "a tensor of sizes": (call(v, torch.tensor(shapes), loc, w), TypeError),
            "a start beyond": (call(v, shapes, loc, w, level_start_index=[1]), ValueError),
            "a start before": (call(v, shapes, loc, w, level_start_index=[-1]), ValueError),
            "two starts": (call(v, shapes, loc, w, level_start_index=[0, 1]), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        size = lambda *others: rng.choice([0, 1, 2, 3, *others])  # noqa: E731
        batch, queries, heads, channels, points = size(), size(7), size(), size(8, 17), size(4)
        shapes = [(size(5), size(4)) for _ in range(rng.choice([1, 2, 3]))]
        pixels = sum(h * w for h, w in shapes) + (rng.random() < 0.1)
        levels = len(shapes) + (rng.random() < 0.05)
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        value = torch.randn(batch, pixels, heads, channels, dtype=dtype)
        locations = torch.randn(batch, queries, heads, levels, points, 2)
        if rng.random() < 0.1:
            locations = locations * rng.choice([1e9, math.inf, math.nan])
        weights = torch.randn(batch, queries, heads, levels, points, dtype=dtype)
        if rng.random() < 0.05:
            weights = weights[..., :-1]
        grad = rng.random() < 0.5
        return Sample((value.requires_grad_(grad), shapes, locations, weights))

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        batch, queries, heads, channels, points = (rng.choice([0, 1, 2, 3, 17]) for _ in range(5))
        shapes = [rng.choice([1, 2, 3, 7]) for _ in range(2 * rng.choice([1, 2, 3]))]
        areas = [h * w for h, w in zip(shapes[::2], shapes[1::2], strict=True)]
        starts = [sum(areas[:i]) for i in range(len(areas))]
        value = torch.randn(batch, sum(areas), heads, channels)
        locations = torch.randn(batch, queries, heads, len(areas), points, 2)
        weights = torch.randn(batch, queries, heads, len(areas), points)
        grad = torch.randn(batch, queries, heads * channels)
        wild = rng.randrange(20)  # most calls get one thing wrong
        if wild == 0:
            value = value[:, 1:]
        elif wild == 1:
            shapes[0] = rng.choice([0, -1, 2**31, 2**62])
        elif wild == 2:
            starts[-1] = rng.choice([-1, 2**40, starts[-1] + 1])
        elif wild == 3:
            shapes = shapes[:-1]
        elif wild == 4:
            locations = locations[..., 0]
        elif wild == 5:
            weights = weights.double()
        elif wild == 6:
            grad = grad[:, :, 1:]
        elif wild == 7:
            locations = locations.half()
        elif wild == 8:
            value = value.to(torch.int32)
        elif wild == 9:
            weights = weights[:, :, 1:]
        elif wild == 10:
            starts = []
        elif wild == 11:
            locations = locations * math.nan
        elif wild == 12:
            grad = grad.to(torch.bfloat16)
        if rng.random() < 0.4:
            return "forward", (value, locations, weights, shapes, starts)
        needs = [rng.random() < 0.7 for _ in range(3)]
        return "backward", (grad, value, locations, weights, shapes, starts, *needs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
class TestMultiScaleDeformableAttentionOnGpu(TestMultiScaleDeformableAttention):
    device = "cuda"


def available(*names: str) -> list[str]:
    """Return the backends of these names that run on this machine."""
    return [name for name in names if OP.why_not(name, "cpu", torch.float32, 32) is None]


def test_numbers_of_the_published_formula() -> None:
    """Two maps, points inside and beyond: equation 3 by hand in float64, rounded."""
    value = torch.sin(0.7 * torch.arange(2 * 26 * 2 * 4, dtype=torch.float64)).view(2, 26, 2, 4)
    locations = 0.5 + 0.7 * torch.sin(1.3 * torch.arange(2 * 3 * 2 * 8, dtype=torch.float64))
    weights = torch.cos(torch.arange(2 * 3 * 2 * 4, dtype=torch.float64)).view(2, 3, 2, 4)
    weights = weights.softmax(-1).view(2, 3, 2, 2, 2)
    expected = torch.tensor(
        [-0.092009, -0.174578, -0.175040, -0.093179, 0.006748, 0.127939, 0.188958, 0.161107]
    )
    for backend in ("reference", *available("cpp")):
        with use_backend(backend):
            output = multi_scale_deformable_attention(
                value.float(), [(4, 5), (2, 3)], locations.view(2, 3, 2, 2, 2, 2).float(),
                weights.float(),
            )  # fmt: skip
        torch.testing.assert_close(output[0, 0], expected, rtol=0, atol=2e-6)
        assert output.sum().item() == pytest.approx(0.181270, abs=5e-6)


def test_coordinates_keep_their_precision_in_half_precision_models() -> None:
    """A ramp reads back the coordinate: rounded to bfloat16 first, it would be a third of a pixel
    off."""
    width = 167
    ramp = torch.arange(width, dtype=torch.float32) - width / 2
    fraction = torch.linspace(0.3, 0.9, 50)
    locations = torch.stack((fraction, torch.full_like(fraction, 0.5)), -1).view(1, 50, 1, 1, 1, 2)
    expected = fraction * width - 0.5 - width / 2
    for backend in ("reference", *available("cpp")):
        with use_backend(backend):
            read = multi_scale_deformable_attention(
                ramp.view(1, width, 1, 1).bfloat16(), [(1, width)], locations,
                torch.ones(1, 50, 1, 1, 1),
            )  # fmt: skip
        # What is left is the rounding of the ramp's numbers (up to 83) themselves.
        near = expected.abs() < 30
        assert (read.float().flatten() - expected)[near].abs().max() < 0.13
    rounded = fraction.bfloat16().float() * width - 0.5 - width / 2
    assert (rounded - expected)[near].abs().max() > 0.13


def test_backward_keeps_the_inputs_alone() -> None:
    call = pyramid(1, 200, 4, 32, [(10, 12), (5, 6)], 4).to("cpu", torch.float32, grad=True)
    inputs = {t.data_ptr() for t in call.leaves()}
    for backend in ("reference", *available("cpp")):
        kept: list[Tensor] = []

        def keep(tensor: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), use_backend(backend):
            multi_scale_deformable_attention(*call.args)
        assert {t.data_ptr() for t in kept} == inputs


def test_output_has_the_dtype_of_the_values_under_autocast() -> None:
    call = pyramid(1, 5, 2, 8, [(3, 4)], 2).to("cpu", torch.float32)
    expected = multi_scale_deformable_attention(*call.args)
    with torch.autocast("cpu", torch.bfloat16):
        actual = multi_scale_deformable_attention(*call.args)
        lower = multi_scale_deformable_attention(call.args[0].bfloat16(), *call.args[1:])
    assert torch.equal(actual, expected)
    assert lower.dtype == torch.bfloat16
    torch.testing.assert_close(lower.float(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_far_points_read_nothing(backend: str) -> None:
    """Also for infinities, NaN, and numbers that do not fit into integers."""
    if backend not in ("reference", *available("cpp")):
        pytest.skip("cpp is not built")
    values, shapes, locations, weights = pyramid(1, 4, 2, 16, [(3, 4)], 2).args
    for far in (-0.7, 1.7, 1e9, -1e30):
        leaves = [t.clone().requires_grad_() for t in (values, weights)]
        with use_backend(backend):
            output = multi_scale_deformable_attention(
                leaves[0], shapes, torch.full_like(locations, far), leaves[1]
            )
            grads = torch.autograd.grad(output.sum(), leaves)
        assert not output.any()
        assert not any(grad.any() for grad in grads)


def test_operations_are_counted() -> None:
    call = pyramid(2, 7, 2, 16, [(3, 4), (2, 2)], 4)
    once = 2 * 4 * 16 * 2 * 7 * 2 * 2 * 4  # multiply-adds of 4 corners, D, B Q M L P
    with FlopCounterMode(display=False) as counter:
        narrow = call.to("cpu", torch.float32, grad=True)
        multi_scale_deformable_attention(*narrow.args).sum().backward()
    assert counter.get_total_flops() == 3 * once  # result; gradients of values and of points


class Attention(torch.nn.Module):
    """A call with fixed sizes, to export."""

    def __init__(self, shapes: list[tuple[int, int]]) -> None:
        super().__init__()
        self.shapes = shapes

    def forward(self, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return multi_scale_deformable_attention(value, self.shapes, locations, weights)


# What inherits from OpTester exports the first graph with the newer exporter.
@pytest.mark.parametrize(
    ("graph", "dynamo"), [("grid_sample", False), ("gather", False), ("gather", True)]
)
@pytest.mark.slow
def test_both_graphs_in_onnxruntime(graph: str, dynamo: bool) -> None:
    """Batch and queries are free, points beyond the maps included."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    shapes = [(5, 7)] if dynamo else [(5, 7), (2, 3)]  # exporting takes seconds per level
    traced = pyramid(2, 6, 2, 8, shapes, 3).to("cpu", torch.float32)
    tensors = (traced.args[0], *traced.args[2:])
    names = ["value", "locations", "weights"]
    free = {"value": ("batch",), "locations": ("batch", "queries"), "weights": ("batch", "queries")}
    axes = {name: dict(enumerate(symbols)) for name, symbols in free.items()}
    file = io.BytesIO()
    with warnings.catch_warnings(), export_deform_attention_as(graph):
        warnings.simplefilter("ignore")  # the exporter's own
        model = Attention(shapes).eval()
        if dynamo:
            batch, queries = torch.export.Dim("batch"), torch.export.Dim("queries")
            dims = ({0: batch}, {0: batch, 1: queries}, {0: batch, 1: queries})
            torch.onnx.export(
                model, tensors, dynamo=True, verbose=False, input_names=names, dynamic_shapes=dims
            ).save(file)
        else:
            torch.onnx.export(
                model, tensors, file, dynamo=False, input_names=names, dynamic_axes=axes,
                opset_version=17,
            )  # fmt: skip
    operators = {node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node}
    assert ("GridSample" in operators) == (graph == "grid_sample")
    assert "Gather" in operators or graph == "grid_sample"
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    other = pyramid(3, 11, 2, 8, shapes, 3).to("cpu", torch.float32)
    feed = dict(zip(names, (other.args[0], *other.args[2:]), strict=True))
    actual = session.run(None, {name: tensor.numpy() for name, tensor in feed.items()})[0]
    expected = multi_scale_deformable_attention(*other.args)
    torch.testing.assert_close(torch.from_numpy(actual), expected, rtol=1e-5, atol=1e-5)


def test_unknown_export_form_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="grid_sample, gather"),
        export_deform_attention_as("plugin"),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(build.nvcc() is None, reason="there is no nvcc")
@pytest.mark.parametrize("architecture", ["80", "90"])
def test_cuda_kernels_keep_to_their_registers(tmp_path: Path, architecture: str) -> None:
    """Spilled registers would go through memory; needs the compiler, but no GPU."""
    library = build.Library("multi_scale_deformable_attention", "cuda", architecture)
    command = build.command(library, tmp_path / library.file_name, ["-Xptxas=-v"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert len(spills) == 2 * 4 * 4  # both directions, four dtypes, four numbers of channels
    assert set(spills) == {("0", "0")}


@pytest.mark.slow
def test_more_than_two_to_the_31_numbers() -> None:
    """Offsets need 64 bits: reads of the last image's last rows are compared with a crop."""
    if "cpp" not in available("cpp"):
        pytest.skip("cpp is not built")
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") < 5 * 2**30:
        pytest.skip("needs 5 GiB of free memory")
    value = torch.zeros(1, 4100 * 2048, 8, 32, dtype=torch.bfloat16)
    assert value.numel() > 2**31
    tail = value[:, -4 * 2048 :]
    tail.copy_(torch.randn(tail.shape))
    generator = torch.Generator().manual_seed(0)
    locations = torch.rand(1, 9, 8, 1, 4, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(1, 9, 8, 1, 4, generator=generator)
    high, low = locations.clone(), locations.clone()
    low[..., 1] = (locations[..., 1] * 3 + 0.5) / 4
    high[..., 1] = (4096 + locations[..., 1] * 3 + 0.5) / 4100
    with torch.no_grad():
        actual = multi_scale_deformable_attention(value, [(4100, 2048)], high, weights)
        expected = multi_scale_deformable_attention(tail, [(4, 2048)], low, weights)
    # A float32 coordinate near row 4096 is exact to 1 / 2048 of a pixel.
    torch.testing.assert_close(actual.float(), expected.float(), rtol=2e-2, atol=2e-2)
