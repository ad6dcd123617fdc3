"""Deformable convolution: its definition, point by point, and torch's convolution are oracles."""

from __future__ import annotations

import io
import math
import random
import warnings

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmattn.ops import (
    OPERATORS,
    deform_conv2d,
    export_deform_conv_as,
    modulated_deform_conv2d,
    use_backend,
)
from mmattn.testing.op_tester import OpTester, Sample

BACKENDS = ("reference", "cpp")


def image(
    n: int,
    c: int,
    h: int,
    w: int,
    outputs: int,
    kernel: tuple[int, int] = (3, 3),
    *,
    spread: float = 2.0,
    modulated: bool = True,
    bias: bool = True,
    **geometry,
) -> Sample:
    """A call with random numbers, results of order one; ``spread`` is the offsets' in pixels."""
    generator = torch.Generator().manual_seed(h * 31 + w)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    size = output_size((h, w), kernel, **geometry)
    planes = geometry.get("deform_groups", 1) * math.prod(kernel)
    inputs = c // geometry.get("groups", 1)
    weight = draw(outputs, inputs, *kernel) / (inputs * math.prod(kernel)) ** 0.5
    x, offset = draw(n, c, h, w), spread * draw(n, 2 * planes, *size)
    mask = draw(n, planes, *size).sigmoid() if modulated else None
    return Sample((x, offset, mask, weight, draw(outputs) if bias else None), geometry)


def output_size(size, kernel, *, stride=1, padding=0, dilation=1, **_) -> list[int]:
    """Height and width of the result."""
    pair = lambda value: (value, value) if isinstance(value, int) else value  # noqa: E731
    facts = zip(size, kernel, pair(stride), pair(padding), pair(dilation), strict=True)
    return [max((s + 2 * p - d * (k - 1) - 1) // t + 1, 0) for s, k, t, p, d in facts]


class TestModulatedDeformConv2d(OpTester):
    op = "modulated_deform_conv2d"
    function = staticmethod(modulated_deform_conv2d)

    def test_repeated_runs_are_equal(self, backend: str) -> None:
        """The Triton backward adds atomically, so it must not serve deterministic mode."""
        if backend != "triton":
            return super().test_repeated_runs_are_equal(backend)
        self.require(backend)
        operator = OPERATORS[self.op]
        torch.use_deterministic_algorithms(True)
        try:
            reason = operator.why_not("triton", self.device, torch.float32, None, "backward")
            assert reason is not None and "not deterministic" in reason
            chosen = operator.choose(self.device, torch.float32, None, "backward")
            assert chosen != "triton"
        finally:
            torch.use_deterministic_algorithms(False)

    @staticmethod
    def samples() -> dict[str, Sample]:
        both = {"groups": 2, "deform_groups": 3}
        return {
            "small": image(2, 3, 4, 5, 2, (2, 3), padding=1, stride=(1, 2)),
            "empty batch": image(0, 4, 5, 6, 3, padding=1),
            "one pixel": image(2, 5, 1, 1, 3, padding=1),
            "prime sizes": image(2, 17, 11, 13, 7, (3, 2), padding=(1, 0), dilation=(2, 1)),
            "groups": image(1, 12, 7, 9, 10, padding=1, **both),
            "depthwise": image(1, 9, 6, 7, 9, padding=1, groups=9, deform_groups=9),
            "far away": image(1, 4, 6, 7, 5, padding=2, dilation=2, spread=30.0),
            "unmodulated": image(1, 6, 9, 8, 4, modulated=False, bias=False, stride=2),
            "several tiles, 100 channels": image(1, 100, 14, 19, 70, padding=1, deform_groups=2),
        }

    @staticmethod
    def wrong_calls() -> dict[str, tuple[Sample, type[Exception]]]:
        x, w = torch.zeros(1, 4, 8, 8), torch.zeros(6, 4, 3, 3)
        o, m = torch.zeros(1, 18, 6, 6), torch.ones(1, 9, 6, 6)
        return {
            "three dimensions": (Sample((x[0], o, m, w)), ValueError),
            "a channel too few": (Sample((x, o, m, w[:, :3])), ValueError),
            "no kernel": (Sample((x, o, m, torch.zeros(6, 4, 0, 3))), ValueError),
            "an empty image": (Sample((x[:, :, :0], o, m, w)), ValueError),
            "a bias too long": (Sample((x, o, m, w, torch.zeros(7))), ValueError),
            "offsets of another size": (Sample((x, torch.zeros(1, 18, 8, 8), m, w)), ValueError),
            "one offset per tap": (Sample((x, o[:, :9], m, w)), ValueError),
            "a mask of another size": (Sample((x, o, m[..., :5], w)), ValueError),
            "a mask for no image": (Sample((x, o, m[:0], w)), ValueError),
            "whole numbers": (Sample((x.long(), o, m, w)), TypeError),
            "whole offsets": (Sample((x, o.int(), m, w)), TypeError),
            "two dtypes": (Sample((x, o, m, w.double())), TypeError),
            "double offsets": (Sample((x, o.double(), m, w)), TypeError),
            "two devices": (Sample((x, o, m, w.to("meta"))), ValueError),
            "negative padding": (Sample((x, o, m, w), {"padding": -1}), ValueError),
            "no stride": (Sample((x, o, m, w), {"stride": 0}), ValueError),
            "three dilations": (Sample((x, o, m, w), {"dilation": (1, 1, 1)}), ValueError),
            "a fraction": (Sample((x, o, m, w), {"padding": 1.5}), ValueError),
            "groups that do not divide": (Sample((x, o, m, w), {"groups": 3}), ValueError),
            "no deform groups": (Sample((x, o, m, w), {"deform_groups": 0}), ValueError),
            "kernel beyond image": (Sample((x, o, m, w), {"dilation": 9}), ValueError),
        }

    @staticmethod
    def random_call(rng: random.Random) -> Sample:
        size = lambda most: rng.choice([0, *[1, 2, 3, most] * 4])  # noqa: E731
        groups, deform_groups = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2])
        c = rng.choice([2, 6, 6, 12])
        geometry = {
            "stride": rng.choice([1, 1, 2, 2, (2, 1), (1, 3), 3, 0]),
            "padding": rng.choice([0, 1, 1, 2, (3, 1), 5, 5, -1]),
            "dilation": rng.choice([1, 1, 2, (2, 1)]),
        }
        dtype = rng.choice([torch.float32, torch.float64, torch.bfloat16])
        x = torch.randn(size(2), c, size(7), size(9), dtype=dtype)
        kernel = (rng.choice([1, 2, 3]), rng.choice([1, 3, 0] if rng.random() < 0.1 else [1, 3]))
        weight = torch.randn(rng.choice([4, 6, 6]), max(c // groups, 1), *kernel, dtype=dtype)
        safe = geometry | {"stride": geometry["stride"] or 1}
        out = output_size(x.shape[2:], kernel, **safe)
        if rng.random() < 0.1:
            out[0] += 1
        planes = deform_groups * math.prod(kernel)
        offset = torch.randn(len(x), 2 * planes, *out) * 10 ** rng.uniform(-1, 9)
        mask = torch.rand(len(x), planes, *out) if rng.random() < 0.7 else None
        points = dtype if rng.random() < 0.9 else torch.float64
        requires = rng.random() < 0.5
        return Sample(
            (
                x.requires_grad_(requires),
                offset.to(points),
                mask if mask is None else mask.to(points),
                weight,
                torch.randn(len(weight), dtype=dtype) if rng.random() < 0.5 else None,
            ),
            geometry | {"groups": groups, "deform_groups": deform_groups},
        )

    @staticmethod
    def random_kernel_call(rng: random.Random) -> tuple[str, tuple]:
        n, h, w = (rng.choice([0, *[1, 2, 3, 17] * 4]) for _ in range(3))
        groups, deform_groups = rng.choice([1, 2]), rng.choice([1, 3])
        c, o = groups * deform_groups * rng.choice([1, 5]), groups * rng.choice([1, 3])
        kernel = [rng.choice([1, 2, 3]) for _ in range(2)]
        stride, dilation = ([rng.choice([1, 2]) for _ in range(2)] for _ in range(2))
        padding = [rng.choice([0, 1, 2, 3]) for _ in range(2)]
        out = output_size((h, w), kernel, stride=stride, padding=padding, dilation=dilation)
        planes = deform_groups * math.prod(kernel)
        x, weight, bias = (
            torch.randn(n, c, h, w),
            torch.randn(o, c // groups, *kernel),
            torch.ones(o),
        )
        offset = torch.randn(n, 2 * planes, *out) * 10 ** rng.uniform(-1, 20)
        mask, grad = torch.rand(n, planes, *out), torch.randn(n, o, *out)
        if rng.random() < 0.2:
            offset.fill_(rng.choice([math.nan, math.inf, -math.inf, 3e38]))
        wild = rng.randrange(26)
        if wild == 0:
            weight = weight[:, :, 0]
        elif wild == 1:
            weight = torch.randn(o, c // groups + 1, *kernel)
        elif wild == 2:
            padding = [padding[0]]
        elif wild == 3:
            dilation = [0, 1]
        elif wild == 4:
            bias = bias[:-1]
        elif wild == 5:
            x = x.double()
        elif wild == 6:
            grad = torch.randn(n, o, 2, 2)
        elif wild == 7:
            x = x.to(torch.int32)
        elif wild == 8:
            offset = offset[:, 1:]
        elif wild == 9:
            mask = mask[..., 1:]
        elif wild == 10:
            groups = 0
        elif wild == 11:
            deform_groups = rng.choice([0, -1, 7])
        elif wild == 12:
            stride = [2**62, 2**62]
        geometry = (stride, padding, dilation, groups, deform_groups, rng.random() < 0.5)
        if rng.random() < 0.5:
            return "forward", (x, offset, mask, weight, bias, *geometry)
        needs = [rng.random() < 0.7 for _ in range(4)]
        return "backward", (grad, x, offset, mask, weight, *geometry, *needs)


@pytest.mark.gpu
class TestModulatedDeformConv2dOnGpu(TestModulatedDeformConv2d):
    device = "cuda"


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest):
    """Each backend of this machine, forced."""
    reason = OPERATORS["modulated_deform_conv2d"].why_not(request.param, "cpu", torch.float32)
    if reason is not None:
        pytest.skip(f"{request.param} {reason}")
    with use_backend(request.param):
        yield request.param


def convolved(call: Sample) -> Tensor:
    return modulated_deform_conv2d(*call.args, **call.kwargs)


def test_without_displacement_it_is_a_convolution(backend: str) -> None:
    call = image(2, 12, 9, 14, 8, padding=(2, 1), dilation=2, stride=(1, 2), groups=2)
    x, offset, mask, weight, bias = (t.float() for t in call.args)
    expected = F.conv2d(x, weight, bias, **call.kwargs)
    actual = modulated_deform_conv2d(
        x, torch.zeros_like(offset), torch.ones_like(mask), weight, bias, **call.kwargs
    )
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)
    unmodulated = deform_conv2d(x, torch.zeros_like(offset), weight, bias, **call.kwargs)
    torch.testing.assert_close(unmodulated, expected, rtol=1e-4, atol=1e-5)


def test_whole_displacements_shift_the_image(backend: str) -> None:
    """Order of the offsets: down first, then right."""
    x, _, _, weight, bias = (t.float() for t in image(1, 5, 8, 9, 4, padding=1).args)
    offset = torch.empty(1, 9, 2, 8, 9)
    offset[:, :, 0], offset[:, :, 1] = 2, -3
    actual = deform_conv2d(x, offset.flatten(1, 2), weight, bias, padding=1)
    shifted = F.pad(x, (4, 0, 0, 3))[:, :, 1:, :-2]  # two up, three to the right, and one margin
    expected = F.conv2d(F.pad(x, (4, -2, -1, 3)), weight, bias)
    assert shifted.shape[2:] == (10, 11)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_every_number_is_the_definitions(backend: str) -> None:
    """Point by point, with groups, deformable groups and points far outside."""
    geometry = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    call = image(1, 4, 5, 6, 2, (2, 2), **geometry, groups=2, deform_groups=4)
    x, offset, mask, weight, bias = call.args
    actual = convolved(call)
    padded = F.pad(x, (60, 60, 60, 60))  # zeros wherever a point may lie
    for o in range(2):
        for row in range(actual.shape[2]):
            for column in range(actual.shape[3]):
                total = bias[o].clone()
                for c in range(2):
                    channel = 2 * o + c
                    for tap in range(4):
                        plane = channel * 4 + tap
                        y = row * 2 - 1 + tap // 2 + offset[0, 2 * plane, row, column]
                        x_ = column - 2 + tap % 2 * 2 + offset[0, 2 * plane + 1, row, column]
                        top, left = int(y.floor()), int(x_.floor())
                        corners = padded[0, channel, top + 60 : top + 62, left + 60 : left + 62]
                        down, right = y - top, x_ - left
                        weights = torch.stack((1 - down, down))[:, None] * torch.stack(
                            (1 - right, right)
                        )
                        value = (corners * weights).sum() * mask[0, plane, row, column]
                        total += value * weight[o, c, tap // 2, tap % 2]
                torch.testing.assert_close(actual[0, o, row, column], total)


def test_border_gives_no_gradient_to_offsets(backend: str) -> None:
    """A point exactly one pixel outside reads nothing and is pulled nowhere, as in other libraries:
    models start with offsets 0, where the padding's taps lie exactly there."""
    x, offset, _, weight, bias = (t.float() for t in image(1, 3, 4, 4, 2, padding=1).args)
    offset = torch.zeros_like(offset).requires_grad_()
    deform_conv2d(x, offset, weight, bias, padding=1).sum().backward()
    by_tap = offset.grad.view(3, 3, 2, 4, 4)
    assert not by_tap[0, :, :, 0].any()  # the upper taps at the first row
    assert not by_tap[:, 0, :, :, 0].any()
    assert by_tap[1, 1].any()


def test_numbers_outside_are_not_read(backend: str) -> None:
    """A point outside reads 0, whatever the image holds; one that is no number must show."""
    x, offset, mask, weight, bias = (t.float() for t in image(1, 3, 5, 5, 2, padding=1).args)
    offset = torch.full_like(offset, 100.0)
    actual = modulated_deform_conv2d(x * math.inf, offset, mask, weight, bias, padding=1)
    torch.testing.assert_close(actual, bias[:, None, None].expand_as(actual))
    offset[0, 0, 2, 3] = math.nan
    lost = modulated_deform_conv2d(x, offset, mask, weight, bias, padding=1).isnan()
    assert lost[0, :, 2, 3].all() and lost.sum() == 2


def test_result_is_laid_out_as_the_image(backend: str) -> None:
    x, *rest = (t.float() for t in image(2, 6, 7, 8, 5, padding=1).args)
    last = torch.channels_last
    y = modulated_deform_conv2d(x, *rest, padding=1)
    z = modulated_deform_conv2d(x.contiguous(memory_format=last), *rest, padding=1)
    assert y.is_contiguous() and z.is_contiguous(memory_format=last)
    torch.testing.assert_close(y, z)


def test_autocast_keeps_coordinates_exact() -> None:
    """In bfloat16 a point near column 300 would be off by a pixel."""
    call = image(1, 6, 3, 300, 4, padding=1)
    x, offset, mask, weight, bias = (t.float() for t in call.args)
    rounded = [t.bfloat16().float() for t in (x, weight, bias)]
    expected = modulated_deform_conv2d(rounded[0], offset, mask, rounded[1], rounded[2], padding=1)
    with torch.autocast("cpu", torch.bfloat16):
        actual = modulated_deform_conv2d(x, offset, mask, weight, bias, padding=1)
        # As from a layer under autocast: the offsets themselves are rounded, not the points.
        coarse = modulated_deform_conv2d(
            x.bfloat16(), offset.bfloat16(), mask.bfloat16(), weight, bias, padding=1
        )
    assert actual.dtype == coarse.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, rtol=1e-2, atol=1e-2)
    again = modulated_deform_conv2d(
        rounded[0], offset.bfloat16().float(), mask.bfloat16().float(), *rounded[1:], padding=1
    )
    torch.testing.assert_close(coarse.float(), again, rtol=1e-2, atol=1e-2)


def test_memory_holds_no_columns(backend: str) -> None:
    """Autograd keeps the inputs alone."""
    call = image(1, 8, 9, 10, 6, padding=1).to("cpu", torch.float32, grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        convolved(call)
    inputs = {t.data_ptr() for t in call.args}
    assert kept and all(t.data_ptr() in inputs for t in kept)


def test_flops_are_those_of_the_convolution() -> None:
    call = image(2, 6, 9, 8, 4, padding=1, groups=2).to("cpu", torch.float32, grad=True)
    once = 2 * 2 * 4 * 9 * 8 * 3 * 9
    with FlopCounterMode(display=False) as counter:
        y = convolved(call)
        assert counter.get_total_flops() == once
        y.sum().backward()
    assert counter.get_total_flops() == 3 * once


def onnx_graph(call: Sample):
    """The call as an ONNX model."""
    pytest.importorskip("onnxscript")
    tensors = call.to("cpu", torch.float32)

    class Call(torch.nn.Module):
        def forward(self, *args: Tensor) -> Tensor:
            return modulated_deform_conv2d(*args, **call.kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(Call().eval(), tensors.args, dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    return program.model, file.getvalue(), tensors


@pytest.mark.slow
@pytest.mark.parametrize("form", ["deform_conv", "grid_sample"])
def test_onnx_graphs(form: str) -> None:
    """One DeformConv node, or by option GridSample; both run in onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    geometry = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    call = image(2, 12, 9, 7, 6, (3, 2), **geometry, groups=2, deform_groups=3)
    with export_deform_conv_as(form):
        model, content, tensors = onnx_graph(call)
    names = [node.op_type for node in model.graph]
    assert ("DeformConv" in names) == (form == "deform_conv")
    assert ("GridSample" in names) == (form == "grid_sample")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = [i.name for i in session.get_inputs()]
    feed = {name: t.numpy() for name, t in zip(inputs, tensors.args, strict=True)}
    actual = torch.from_numpy(session.run(None, feed)[0])
    torch.testing.assert_close(actual, convolved(tensors), rtol=1e-4, atol=1e-5)


def test_unknown_export_is_refused() -> None:
    with pytest.raises(ValueError, match="deform_conv, grid_sample"), export_deform_conv_as("x"):
        pass
