"""mmcv's deformable attention on our operator: the numbers of mmcv's own composition, faster."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import mmcv.ops.multi_scale_deform_attn as attention
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmattn.bridge.deformable_attention import use_our_operator
from mmattn.ops import OPERATORS, export_deform_attention_as, use_backend

OURS = attention.multi_scale_deformable_attn_pytorch
SHAPES = [(9, 13), (5, 7), (2, 3)]
PIXELS = sum(height * width for height, width in SHAPES)

needs_kernel = pytest.mark.skipif(
    OPERATORS["multi_scale_deformable_attention"].why_not("cpp", "cpu", torch.float32, 32)
    is not None,
    reason="the cpp kernel is not built",
)


class Counter(TorchDispatchMode):
    """Counts calls of our operator and of torch's grid sampling."""

    def __init__(self) -> None:
        super().__init__()
        self.ours = self.samples = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.ours += function._opname == "multi_scale_deformable_attention"
        self.samples += "grid_sampler" in function._opname
        return function(*args, **(kwargs or {}))


def both_ways(monkeypatch, run: Callable[[], list[Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    """Results on our operator, which must have run, and on mmcv's own composition."""
    with Counter() as ours:
        found = run()
    assert ours.ours
    assert not ours.samples
    with monkeypatch.context() as patch, Counter() as theirs:
        patch.setattr(attention, "multi_scale_deformable_attn_pytorch", OURS.__wrapped__)
        wanted = run()
    assert theirs.samples
    assert not theirs.ours
    return found, wanted


def results_and_gradients(module: nn.Module, inputs: list[Tensor], call: Callable) -> list[Tensor]:
    """What the module returns, and gradients of inputs and parameters from a fixed direction."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    outputs = call(*leaves)
    generator = torch.Generator().manual_seed(3)
    loss = sum((o * torch.randn(o.shape, generator=generator)).mean() for o in outputs)
    grads = torch.autograd.grad(loss, [*leaves, *module.parameters()], allow_unused=True)
    return [*(o.detach() for o in outputs), *(g for g in grads if g is not None)]


def assert_equal(found: list[Tensor], wanted: list[Tensor], tolerance: float = 2e-5) -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        error = (a - b).abs().max() / b.abs().max().clamp_min(1e-6)
        assert error < tolerance


def shake(module: nn.Module) -> nn.Module:
    """Random offsets and weights; as initialised they do not depend on the query."""
    for part in module.modules():
        if isinstance(part, MultiScaleDeformableAttention):
            nn.init.normal_(part.sampling_offsets.weight, std=0.2)
            nn.init.normal_(part.attention_weights.weight, std=0.2)
    return module.eval()  # without dropout


@needs_kernel
@pytest.mark.parametrize("coordinates", [2, 4])
def test_layer_gives_mmcvs_numbers(monkeypatch, coordinates: int) -> None:
    layer = shake(MultiScaleDeformableAttention(64, 4, 3, 4, batch_first=True))
    inputs = [torch.randn(2, 11, 64), torch.randn(2, PIXELS, 64), torch.rand(2, 11, 3, coordinates)]
    hidden = torch.zeros(2, PIXELS, dtype=torch.bool)
    hidden[1, -5:] = True

    def call(query: Tensor, value: Tensor, reference_points: Tensor) -> list[Tensor]:
        output = layer(
            query, value=value, reference_points=reference_points, key_padding_mask=hidden,
            spatial_shapes=torch.tensor(SHAPES), level_start_index=torch.tensor([0, 117, 152]),
        )  # fmt: skip
        return [output]

    assert_equal(*both_ways(monkeypatch, lambda: results_and_gradients(layer, inputs, call)))


@needs_kernel
def test_pixel_decoder_of_mask2former(monkeypatch) -> None:
    from mmdet.models.layers import MSDeformAttnPixelDecoder

    encoder = {
        "num_layers": 2,
        "layer_cfg": {
            "self_attn_cfg": {"embed_dims": 64, "num_heads": 4, "num_levels": 3, "num_points": 4,
                              "dropout": 0.0, "batch_first": True},
            "ffn_cfg": {"embed_dims": 64, "feedforward_channels": 64, "num_fcs": 2},
        },
    }  # fmt: skip
    decoder = MSDeformAttnPixelDecoder(
        in_channels=[8, 16, 24, 32], feat_channels=64, out_channels=64,
        positional_encoding={"num_feats": 32, "normalize": True}, encoder=ConfigDict(encoder),
    )  # fmt: skip
    decoder.init_weights()
    shake(decoder)
    sizes = [(32, 40), (16, 20), (8, 10), (4, 5)]
    inputs = [torch.randn(2, c, *s) for c, s in zip((8, 16, 24, 32), sizes, strict=True)]

    def call(*features: Tensor) -> list[Tensor]:
        mask_features, pyramid = decoder(list(features))
        return [mask_features, *pyramid]

    found, wanted = both_ways(monkeypatch, lambda: results_and_gradients(decoder, inputs, call))
    assert_equal(found, wanted, 1e-4)


@needs_kernel
def test_transformer_of_deformable_detr(monkeypatch) -> None:
    from mmdet.models.layers import (
        DeformableDetrTransformerDecoder,
        DeformableDetrTransformerEncoder,
    )

    own = {"embed_dims": 64, "num_heads": 4, "num_levels": 3, "batch_first": True}
    ffn = {"embed_dims": 64, "feedforward_channels": 64}
    encoder = DeformableDetrTransformerEncoder(
        num_layers=2, layer_cfg={"self_attn_cfg": own, "ffn_cfg": ffn}
    )
    heads = {"embed_dims": 64, "num_heads": 4, "batch_first": True}
    decoder = DeformableDetrTransformerDecoder(
        num_layers=2, return_intermediate=True, post_norm_cfg=None,
        layer_cfg={"self_attn_cfg": heads, "cross_attn_cfg": own, "ffn_cfg": ffn},
    )  # fmt: skip
    network = shake(nn.ModuleList([encoder, decoder]))
    shapes, starts = torch.tensor(SHAPES), torch.tensor([0, 117, 152])
    inputs = [torch.randn(2, PIXELS, 64), torch.randn(2, 9, 64), torch.rand(2, 9, 2)]
    ratios = torch.tensor([[1.0, 1.0], [0.7, 0.9]])[:, None].repeat(1, 3, 1)
    position, query_position = torch.randn(1, PIXELS, 64), torch.randn(1, 9, 64)
    hidden = torch.zeros(2, PIXELS, dtype=torch.bool)

    def call(pixels: Tensor, queries: Tensor, reference_points: Tensor) -> list[Tensor]:
        common = {"spatial_shapes": shapes, "level_start_index": starts, "valid_ratios": ratios,
                  "key_padding_mask": hidden}  # fmt: skip
        memory = encoder(pixels, query_pos=position, **common)
        states, _ = decoder(
            query=queries, value=memory, query_pos=query_position,
            reference_points=reference_points, **common,
        )  # fmt: skip
        return [memory, states]

    found, wanted = both_ways(monkeypatch, lambda: results_and_gradients(network, inputs, call))
    assert_equal(found, wanted, 1e-4)


@needs_kernel
def test_keeps_a_fifth_of_the_memory_for_backward(monkeypatch) -> None:
    """At sizes as in use: 256 channels, 8 heads, three levels, as many queries as pixels."""
    value = torch.randn(1, PIXELS, 8, 32, requires_grad=True)
    locations = torch.rand(1, PIXELS, 8, 3, 4, 2, requires_grad=True)
    weights = torch.rand(1, PIXELS, 8, 3, 4, requires_grad=True)

    def kept_bytes(function: Callable) -> int:
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = function(value, torch.tensor(SHAPES), locations, weights)
        assert output.requires_grad
        return sum(kept.values())

    assert 5 * kept_bytes(OURS) <= kept_bytes(OURS.__wrapped__)


def test_without_a_kernel_mmcvs_own_path_runs() -> None:
    """Nothing is lost without a compiler, and nothing changes."""
    value, weights = torch.randn(1, PIXELS, 2, 8), torch.rand(1, 4, 2, 3, 4)
    locations = torch.rand(1, 4, 2, 3, 4, 2)
    with use_backend("reference"), Counter() as counter:
        found = OURS(value, torch.tensor(SHAPES), locations, weights)
    assert (counter.ours, counter.samples) == (0, 3)
    assert torch.equal(found, OURS.__wrapped__(value, torch.tensor(SHAPES), locations, weights))


@needs_kernel
def test_sizes_may_be_numbers_too() -> None:
    value, weights = torch.randn(1, PIXELS, 2, 8), torch.rand(1, 4, 2, 3, 4)
    locations = torch.rand(1, 4, 2, 3, 4, 2)
    as_tensor = OURS(value, torch.tensor(SHAPES), locations, weights)
    assert torch.equal(OURS(value, SHAPES, locations, weights), as_tensor)


def test_replacing_twice_replaces_once() -> None:
    use_our_operator(attention)
    assert attention.multi_scale_deformable_attn_pytorch is OURS
    assert not hasattr(OURS.__wrapped__, "__wrapped__")


@pytest.mark.parametrize("graph", ["grid_sample", "gather"])
def test_layer_exports_with_either_graph(graph: str) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = shake(MultiScaleDeformableAttention(32, 4, 3, 2, batch_first=True))

        def forward(self, query: Tensor, value: Tensor, reference_points: Tensor) -> Tensor:
            return self.layer(
                query, value=value, reference_points=reference_points,
                spatial_shapes=torch.tensor(SHAPES), level_start_index=torch.tensor([0, 117, 152]),
            )  # fmt: skip

    model = Fixed().eval()
    inputs = (torch.randn(1, 5, 32), torch.randn(1, PIXELS, 32), torch.rand(1, 5, 3, 2))
    names = ["query", "value", "reference_points"]
    file = io.BytesIO()
    with warnings.catch_warnings(), export_deform_attention_as(graph):
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(model, inputs, file, dynamo=False, input_names=names, opset_version=17)
    operators = {node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node}
    assert ("GridSample" in operators) == (graph == "grid_sample")
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    with torch.no_grad():
        wanted = model(*inputs)
    torch.testing.assert_close(
        torch.from_numpy(session.run(None, feed)[0]), wanted, rtol=1e-4, atol=1e-5
    )
