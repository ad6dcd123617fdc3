"""Promise: the attention gate is the paper's, with the authors' weights, for maps of any sizes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import mmattn.projects._register  # noqa: F401  (registers the converters)
from mmattn.errors import CheckpointError
from mmattn.io.convert import convert_checkpoint
from mmattn.projects.blocks.attention_gate import AttentionGate
from mmattn.testing.golden import Golden, golden_image, golden_state
from mmattn.testing.module_costs import parameters
from mmattn.testing.plugin import initialised_by_a_network

GOLDEN = Golden(
    (2, 16, 8, 10),
    "0.0789851813 0.0765306455 0.090868753 0.0129476735 0.0854684757 0.105916003 0.0719177479 "
    "0.0115434026",
    (198.410349, 198.410349, 0.0334571093),
    (-0.590143702, 7.54147216),
    "W.0.weight 45.0759223; W.0.bias 194.95259; W.1.weight 3.44127714; W.1.bias 198.410349; "
    "theta.weight 83.3788019; phi.weight 33.0373752; phi.bias 2.12467722; psi.weight 7.06380793; "
    "psi.bias 1.07618616",
)
#: Sum and sum of absolute values of the gradient of the second input.
OF_SIGNAL = (1.55792709, 2.65125773)
SIZES = [((1, 1), (1, 1)), ((1, 7), (1, 4)), ((5, 7), (3, 2)), ((11, 13), (5, 7)), ((2, 2), (9, 4))]


def rough(channels: int = 6, gating: int = 10, **arguments) -> AttentionGate:
    """A gate in float64, as after training: gates far from 1/2, statistics that differ."""
    torch.manual_seed(0)
    module = AttentionGate(channels, gating, **arguments).double().eval()
    for name, value in module.state_dict().items():
        if name.startswith("W.1.") and value.is_floating_point():
            value.uniform_(0.5, 1.5)
        elif name == "psi.weight":
            value.mul_(2)
    return module


def maps(size: tuple[int, ...], signal: tuple[int, ...], channels: int = 6, gating: int = 10):
    generator = torch.Generator().manual_seed(sum(size))
    return (
        torch.randn(2, channels, *size, generator=generator, dtype=torch.float64),
        torch.randn(2, gating, *signal, generator=generator, dtype=torch.float64),
    )


def bilinear(image: Tensor, height: int, width: int) -> Tensor:
    """Resize by the weights of two rows and two columns, each written out."""

    def weights(length: int, old: int) -> Tensor:
        place = ((torch.arange(length).double() + 0.5) * old / length - 0.5).clamp(0, old - 1)
        distance = (place[:, None] - torch.arange(old)).abs()
        return (1 - distance).clamp(min=0)  # (length, old)

    rows, columns = weights(height, image.shape[2]), weights(width, image.shape[3])
    return torch.einsum("ih,nchw,jw->ncij", rows, image, columns)


def plainly(module: AttentionGate, x: Tensor, g: Tensor) -> Tensor:
    """The equations, with convolutions as matrix products."""
    height, width = x.shape[2:]
    r = module.subsample
    padded = F.pad(x, (0, max(r - width, 0), 0, max(r - height, 0)))
    cells = F.unfold(padded, r, stride=r)  # (N, F_l r r, cells)
    weight = module.theta.weight.flatten(1)
    t = (weight @ cells).unflatten(2, (padded.shape[2] // r, padded.shape[3] // r))
    p = torch.einsum("ic,nchw->nihw", module.phi.weight[:, :, 0, 0], g)
    p = bilinear(p + module.phi.bias[:, None, None], *t.shape[2:])
    logits = torch.einsum("c,nchw->nhw", module.psi.weight[0, :, 0, 0], (t + p).clamp(min=0))
    gate = bilinear(1 / (1 + (-logits - module.psi.bias).exp()).unsqueeze(1), height, width)
    conv, norm = module.W
    y = torch.einsum("oc,nchw->nohw", conv.weight[:, :, 0, 0], gate * x) + conv.bias[:, None, None]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (y - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def test_golden_values_and_gradients() -> None:
    module = AttentionGate(16, 24).eval()
    module.load_state_dict(golden_state(module.state_dict()))
    module.double()
    x = golden_image(2, 16, 8, 10).double().requires_grad_()
    g = golden_image(2, 24, 4, 5).double().requires_grad_()
    y, gate = module(x, g, return_gate=True)
    GOLDEN.compare(y)
    (y.square().sum() / 2).backward()
    GOLDEN.compare_gradients({k: p.grad for k, p in module.named_parameters()}, x.grad)
    assert g.grad.sum().item() == pytest.approx(OF_SIGNAL[0], rel=1e-8)
    assert g.grad.abs().sum().item() == pytest.approx(OF_SIGNAL[1], rel=1e-8)
    # The map of gates: a sum and a standard deviation, and the first of the values.
    assert gate.shape == (2, 1, 8, 10)
    assert gate.sum().item() == pytest.approx(3.71536893, rel=1e-8)
    assert gate.std().item() == pytest.approx(0.0257326589, rel=1e-8)
    assert gate.flatten()[0].item() == pytest.approx(0.0210435336, rel=1e-8)
    expected = module.float()(x.float().detach(), g.float().detach())
    torch.testing.assert_close(expected.double(), y, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("size", "signal"), SIZES)
def test_any_sizes_match_the_equations(size: tuple[int, int], signal: tuple[int, int]) -> None:
    module = rough()
    x, g = maps(size, signal)
    y = module(x, g)
    assert y.shape == x.shape
    torch.testing.assert_close(y, plainly(module, x, g), rtol=1e-10, atol=1e-10)
    apart = torch.cat([module(x[:1], g[:1]), module(x[1:], g[1:])])
    torch.testing.assert_close(y, apart, rtol=1e-10, atol=1e-10)
    gate = module.attention_maps(x, g)["spatial"]
    assert gate.shape == (2, 1, *size)
    assert ((gate > 0) & (gate < 1)).all()


@pytest.mark.parametrize(
    ("channels", "gating", "hidden", "count", "macs"),
    [
        (64, 128, 64, 28_993, 42_008_576),
        (128, 256, 128, 115_329, 167_903_232),
        (256, 512, 256, 460_033, 671_350_784),
    ],
)
def test_costs(channels: int, gating: int, hidden: int, count: int, macs: int) -> None:
    with torch.device("meta"):
        module = AttentionGate(channels, gating, hidden_channels=hidden).eval()
        inputs = torch.empty(1, channels, 64, 64), torch.empty(1, gating, 32, 32)
        with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
            module(*inputs)
    assert parameters(module) == count
    assert counter.get_total_flops() // 2 == macs


def test_gradients_of_inputs_and_weights() -> None:
    module = rough()
    names = [name for name, _ in module.named_parameters()]

    def run(x: Tensor, g: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, g))

    inputs = [*maps((5, 7), (3, 2)), *(p.detach().clone() for p in module.parameters())]
    inputs = [value.requires_grad_() for value in inputs]
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_float64(dtype: torch.dtype) -> None:
    module = rough().to(dtype)
    x, g = (value.to(dtype) for value in maps((5, 7), (3, 2)))
    y, gate = module(x, g, return_gate=True)
    assert y.dtype == dtype
    assert gate.dtype == torch.float32
    expected = copy.deepcopy(module).double()(x.double(), g.double())
    error = (y.double() - expected).abs().max()
    assert error <= 4 * torch.finfo(dtype).eps * expected.abs().max()


def test_autocast_is_near_float64() -> None:
    module = rough()
    x, g = maps((5, 7), (3, 2))
    expected = module(x, g)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module.float()(x.float(), g.float())
    error = (y.double() - expected).abs().max()
    assert error <= 4 * torch.finfo(torch.bfloat16).eps * expected.abs().max()


def test_memory_layout_and_empty_batches() -> None:
    module = rough()
    x, g = maps((5, 7), (3, 2))
    expected = module(x, g)
    last = (value.to(memory_format=torch.channels_last) for value in (x, g))
    torch.testing.assert_close(module(*last), expected)
    torch.testing.assert_close(module(x.mT.contiguous().mT, g.mT.contiguous().mT), expected)
    assert module(x[:0], g[:0]).shape == (0, 6, 5, 7)


@pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
def test_onnx_runs_at_sizes_it_was_not_traced_at() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    module = rough().float()
    n, height, width, rows, columns = (torch.export.Dim(name, min=1) for name in "nhwrc")
    program = torch.onnx.export(
        module,
        tuple(value.float() for value in maps((5, 7), (3, 2))),
        dynamo=True,
        dynamic_shapes=({0: n, 2: height, 3: width}, {0: n, 2: rows, 3: columns}),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [value.name for value in session.get_inputs()]
    for size, signal in SIZES:
        inputs = [value.float() for value in maps(size, signal)]
        fed = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        (y,) = session.run(None, fed)
        torch.testing.assert_close(torch.from_numpy(y), module(*inputs), rtol=1e-4, atol=1e-4)


def test_fixed_gates() -> None:
    """Closed forms: a gate of 1/2, of 1 and of 0."""
    module = rough()
    x, g = maps((5, 7), (3, 2))
    with torch.no_grad():
        module.psi.weight.zero_()
        for bias, gate in ((0, 0.5), (40, 1.0), (-40, 0.0)):
            module.psi.bias.fill_(bias)
            torch.testing.assert_close(module(x, g), module.W(gate * x))


def test_a_constant_signal_alone_gives_a_constant_gate() -> None:
    module = rough()
    nn.init.zeros_(module.theta.weight)
    x, g = maps((7, 11), (1, 1))
    gate = module.attention_maps(x, g)["spatial"]
    torch.testing.assert_close(gate, gate[:, :, :1, :1].expand_as(gate))
    torch.testing.assert_close(gate, module.attention_maps(2 * x, g)["spatial"])
    wide = module.attention_maps(x, g.expand(-1, -1, 4, 3))["spatial"]
    torch.testing.assert_close(gate, wide)
    nn.init.ones_(module.theta.weight)
    assert not torch.allclose(gate, module.attention_maps(x, g)["spatial"])


def test_the_last_odd_row_is_gated_and_does_not_decide() -> None:
    module = rough(output_transform=False)
    assert module.W is None
    x, g = maps((5, 4), (2, 2))
    x.requires_grad_()
    module.attention_maps(x, g)["spatial"].sum().backward()
    assert not x.grad[:, :, 4].any()
    assert x.grad[:, :, :4].abs().amax((0, 1)).all()
    assert not torch.equal(module(x, g)[:, :, 4], x[:, :, 4])


def test_volumes() -> None:
    """A volume of equal slices is an image, if the two taps in depth add up to the kernel's."""
    flat, deep = rough(), rough(spatial_dims=3)
    state = flat.state_dict()
    for name, value in deep.state_dict().items():
        weight = state[name].unsqueeze(2) if value.dim() == 5 else state[name]
        value.copy_((weight / 2 if name == "theta.weight" else weight).expand_as(value))
    x, g = maps((4, 6), (2, 3))
    slices = (value.unsqueeze(2).expand(-1, -1, depth, -1, -1) for value, depth in ((x, 4), (g, 2)))
    expected = flat(x, g).unsqueeze(2).expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(deep(*slices), expected)


def test_initial_state_is_the_authors() -> None:
    fresh = AttentionGate(64, 128)
    for module in (fresh, initialised_by_a_network(AttentionGate(64, 128))):
        assert module.psi.bias.abs().max() > 0  # not the network's zero
        assert module.W[1].weight.std().item() == pytest.approx(0.02, rel=0.4)
        assert not module.W[1].bias.any()
        for conv, fan_in in ((module.theta, 256), (module.phi, 128), (module.W[0], 64)):
            assert conv.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)


def test_bad_arguments_are_named() -> None:
    for name in ("in_channels", "gating_channels", "hidden_channels", "subsample"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            AttentionGate(**{"in_channels": 4, "gating_channels": 4, name: 0})
    with pytest.raises(ValueError, match="spatial_dims must be 2 or 3, got 1"):
        AttentionGate(4, 4, spatial_dims=1)
    assert AttentionGate(1, 4).theta.out_channels == 1
    assert AttentionGate(9, 4).theta.out_channels == 4


def test_the_authors_gates_convert_and_load() -> None:
    gate = AttentionGate(8, 12, hidden_channels=8, spatial_dims=3)
    state = {f"attentionblock2.gate_block_1.{k}": v for k, v in gate.state_dict().items()}
    combine = nn.Sequential(nn.Conv3d(8, 8, 1), nn.BatchNorm3d(8)).state_dict()
    state |= {f"attentionblock2.combine_gates.{k}": v for k, v in combine.items()}
    state["conv1.weight"] = torch.ones(1)
    conversion = convert_checkpoint({"state_dict": state})
    assert conversion is not None
    assert conversion.converter == "attention-gate-official"
    assert (
        "dict(type='mmattn.AttentionGate', in_channels=8, gating_channels=12, hidden_channels=8, "
        "subsample=2, spatial_dims=3)" in conversion.note
    )
    ours = conversion.state_dict
    mine = {
        key.removeprefix("attentionblock2."): value
        for key, value in ours.items()
        if key.startswith("attentionblock2.") and "combine_gates" not in key
    }
    gate.load_state_dict(mine, strict=True)
    assert {"conv1.weight", "attentionblock2.combine_gates.0.bias"} <= ours.keys()
    back = convert_checkpoint(ours, "attention-gate-official", reverse=True)
    assert back is not None
    assert back.state_dict.keys() == state.keys()
    state["attentionblock2.gate_block_1.gamma"] = torch.ones(1)
    with pytest.raises(CheckpointError, match=r"not of this layout: gate_block_1\.gamma"):
        convert_checkpoint(state)
