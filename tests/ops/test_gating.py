"""Promises of all gating operators: no copies, little kept for backward, one graph."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import profile

from mmattn.ops import (
    OPERATORS,
    apply_gates,
    gated_channel_pool,
    global_avg_max_pool,
    row_column_means,
    use_backend,
)

SIZE = (2, 20, 9, 13)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels-last": torch.channels_last}
CALLS: dict[str, Callable[..., Tensor]] = {
    "global_avg_max_pool": lambda x, channel, *_: torch.stack(global_avg_max_pool(x)),
    "row_column_means": lambda x, channel, *_: torch.cat(row_column_means(x), -1),
    "gated_channel_pool": lambda x, channel, *_: gated_channel_pool(x, channel),
    "apply_gates": lambda x, channel, row, column, spatial: apply_gates(
        x, channel=channel, row=row, column=column, spatial=spatial, residual=True
    ),
}


def inputs(
    layout: str = "contiguous", dtype: torch.dtype = torch.float32, size: tuple = SIZE
) -> list[Tensor]:
    """An image and its four gates, as leaves."""
    n, c, height, width = size
    shapes = (size, (n, c), (n, c, height), (n, c, width), (n, 1, height, width))
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    tensors[0] = tensors[0].contiguous(memory_format=LAYOUTS[layout])
    return [t.requires_grad_() for t in tensors]


def need(op: str, backend: str = "cpp") -> None:
    """Skip where the backend is not built."""
    if reason := OPERATORS[op].why_not(backend, "cpu", torch.float32):
        pytest.skip(reason)


class Block(nn.Module):
    """All four operators in one small attention block."""

    def forward(self, x: Tensor) -> Tensor:
        mean, maximum = global_avg_max_pool(x)
        channel = (mean + maximum).sigmoid()
        spatial = gated_channel_pool(x, channel).sum(1, keepdim=True).sigmoid()
        row, column = row_column_means(x)
        return apply_gates(
            x, channel=channel, row=row.sigmoid(), column=column.sigmoid(), spatial=spatial,
            residual=True,
        )  # fmt: skip


def copies(op: str, tensors: list[Tensor]) -> list[str]:
    """Torch's copies of whole images in both passes."""
    x = tensors[0]
    result = CALLS[op](*tensors)
    grad = torch.ones_like(result)
    with profile(record_shapes=True) as events:
        actual = torch.autograd.grad(CALLS[op](*tensors), x, grad)
    assert actual[0].shape == SIZE
    names = ("aten::contiguous", "aten::clone", "aten::copy_", "aten::_to_copy")
    return [
        event.name
        for event in events.events()
        if event.name in names and list(SIZE) in event.input_shapes
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", CALLS)
def test_neither_layout_is_copied(op: str, layout: str) -> None:
    need(op)
    x, *gates = inputs(layout)
    with use_backend("cpp"):
        assert not copies(op, [x, *gates])
        other = x.detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
        assert copies(op, [other, *gates])  # so that copies would be seen


@pytest.mark.parametrize("size", [SIZE, (2, 1, 9, 13), (2, 5, 1, 1)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["reference", "cpp"])
def test_gated_image_keeps_its_strides(backend: str, layout: str, size: tuple) -> None:
    """Also the strides of sides of size one: convolutions guess the layout from them."""
    need("apply_gates", backend)
    x, channel, *_ = inputs(layout, size=size)
    with use_backend(backend):
        assert apply_gates(x, channel=channel).stride() == x.stride()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("backend", ["reference", "cpp"])
@pytest.mark.parametrize("op", CALLS)
def test_gradients_have_the_layout_of_the_image(op: str, backend: str, layout: str) -> None:
    need(op, backend)
    x, *gates = inputs(layout)
    with use_backend(backend):
        grad = torch.autograd.grad(CALLS[op](x, *gates).sum(), x)[0]
    assert grad.stride() == x.stride()


@pytest.mark.parametrize("size", [(2, 20, 9, 13), (1, 33, 70, 30), (3, 7, 33, 40)], ids=str)
@pytest.mark.parametrize("op", CALLS)
def test_layouts_agree(op: str, size: tuple) -> None:
    """Results and gradients; the larger images are handled in several parts."""
    need(op)
    results = []
    for layout in LAYOUTS:
        tensors = inputs(layout, torch.float64, size)
        with use_backend("cpp"):
            result = CALLS[op](*tensors)
            generator = torch.Generator().manual_seed(1)
            weight = torch.randn(result.shape, generator=generator, dtype=torch.float64)
            grads = torch.autograd.grad(result, tensors, weight, allow_unused=True)
        results.append([result, *(g for g in grads if g is not None)])
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("op", CALLS)
def test_little_is_kept_for_the_backward_pass(op: str) -> None:
    """x where it is needed, the gates and indices: never a product of the size of x."""
    need(op)
    tensors = inputs()
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with use_backend("cpp"), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        CALLS[op](*tensors)
    n, c, height, width = SIZE
    image, channels, pixels = 4 * n * c * height * width, n * c, n * height * width
    strips = n * c * (height + width)
    assert (
        sum(kept.values())
        <= {
            "global_avg_max_pool": 8 * channels,
            "row_column_means": 0,
            "gated_channel_pool": image + 4 * channels + 4 * pixels,
            "apply_gates": image + 4 * (channels + strips + pixels),
        }[op]
    )


@pytest.mark.parametrize("op", CALLS)
def test_second_derivatives(op: str) -> None:
    tensors = inputs(dtype=torch.float64)
    small = [t.detach()[:, :3, :2, :4] if t.dim() == 4 else t.detach()[:, :3] for t in tensors]
    small[2], small[3] = small[2][..., :2], small[3][..., :4]
    leaves = [t.clone().requires_grad_() for t in small]
    used = leaves if op == "apply_gates" else leaves[: 2 if op.startswith("gated") else 1]
    rest = leaves[len(used) :]
    assert torch.autograd.gradgradcheck(lambda *given: CALLS[op](*given, *rest), used)


def test_reference_is_left_to_the_compiler() -> None:
    """The compiler can fuse reductions and products where plain torch runs, as on a GPU."""
    graphs: list[torch.fx.GraphModule] = []

    def remember(graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable:
        graphs.append(graph)
        return graph.forward

    x = inputs()[0]
    with use_backend("reference"):
        torch.compile(Block(), backend=remember, fullgraph=True)(x)
    assert len(graphs) == 1
    assert not [n for n in graphs[0].graph.nodes if "mmattn" in str(n.target)]
    torch.compiler.reset()


def test_exports_with_any_height_and_width() -> None:
    """Standard operators alone, and no size is frozen into the graph."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    x, auto = inputs()[0].detach(), torch.export.Dim.AUTO
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            Block().eval(), (x,), dynamo=True, verbose=False,
            dynamic_shapes=({0: auto, 2: auto, 3: auto},),
        )  # fmt: skip
    file = io.BytesIO()
    program.save(file)
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for n, height, width in ((2, 9, 13), (1, 1, 5), (3, 17, 4)):
        x = torch.randn(n, SIZE[1], height, width)
        actual = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(actual), Block()(x), rtol=1e-4, atol=1e-5)


def test_autocast_leaves_statistics_and_gates_in_float32() -> None:
    x, channel, *_ = (t.detach() for t in inputs())
    half = x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert {t.dtype for t in (*global_avg_max_pool(half), *row_column_means(half))} == {
            torch.float32
        }
        assert gated_channel_pool(half, channel).dtype == torch.float32
        actual = apply_gates(half, channel=channel)
    assert actual.dtype == torch.bfloat16
    assert torch.equal(actual, apply_gates(half, channel=channel))
