"""Where tokens lie: keys that are a smaller map, tokens of classes, and modules called often."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.backbones.pvt import SpatialReductionAttention
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from mmseg.models.decode_heads.segmenter_mask_head import SegmenterMaskTransformerHead
from torch import Tensor, nn

from mmattn.explain import Network
from mmattn.explain.attention.inputs import call_numbers
from mmattn.explain.attention.layer import Attention
from mmattn.explain.attention.measure import measure
from mmattn.explain.attention.record import recorded_attention
from mmattn.explain.attention.reduced import over_tokens, square_shares
from mmattn.explain.attention.views import _of_records
from mmattn.explain.methods import explain
from mmattn.explain.networks import Sample
from mmattn.explain.placement import Placement
from mmattn.explain.relevance import DecoderStep, decoder_relevance, relevance_rows
from mmattn.explain.rollout import merge_matrix, rollout_rows, with_residual
from mmattn.explain.target import Target
from mmattn.explain.targets import choose_target, parse_target
from mmattn.explain.token_maps import _join
from tests.support.scenes import draw_scene
from tests.support.small_transformers import segformer, segmenter


def sample(padded: tuple[int, int]) -> Sample:
    pixels = np.zeros((*padded, 3), np.uint8)
    return Sample(
        Path("a.png"), pixels, torch.zeros(1, 3, *padded), [], Placement(padded, padded, padded)
    )


def target(padded: tuple[int, int], x: float, y: float, label: int = 0) -> Target:
    region = torch.zeros(padded, dtype=torch.bool)
    region[int(y), int(x)] = True
    return Target("semantic", label, "t", "y", region, (x, y))


def reading_the_bright_square(kind: type[nn.Module]) -> nn.Module:
    """Attention whose every query reads the one key that is bright in the first channel."""
    layer = kind(4, 1, sr_ratio=2, qkv_bias=True).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.sr.weight.copy_(torch.eye(4)[:, :, None, None].expand(4, 4, 2, 2) / 4)
        layer.norm.weight.fill_(1)
        layer.attn.in_proj_weight[4:8] = torch.eye(4)  # a key is itself
        layer.attn.in_proj_bias[0] = 50  # a query asks for the first channel
    return layer


def bright(height: int, width: int) -> Tensor:
    """Tokens (1, N, 4), dark but for rows 2 and 3 of columns 4 and 5."""
    x = torch.tensor([-1.0, 1.0, 0.0, 0.0]).repeat(height, width, 1)
    x[2:4, 4:6] = torch.tensor([1.0, -1.0, 0.0, 0.0])
    return x.flatten(0, 1)[None]


@pytest.mark.parametrize("kind", [EfficientMultiheadAttention, SpatialReductionAttention])
@pytest.mark.parametrize("grid", [(6, 8), (7, 9)])
def test_a_smaller_map_of_keys_is_shown_where_it_is(
    kind: type[nn.Module], grid: tuple[int, int]
) -> None:
    """Of 7 x 9 tokens the last row and the last column are in no key."""
    layer = reading_the_bright_square(kind)
    padded = (grid[0] * 4, grid[1] * 4)
    modules = {"attn": layer.attn}
    with torch.no_grad(), recorded_attention(modules, padded, model=layer) as (records):
        layer(bright(*grid), grid)
    (record,) = records
    assert record.kind == "self" and record.call == 0
    assert record.query_grids == (grid,) and record.key_grids == ((3, 4),)
    ((found,),) = _of_records(records, sample(padded), target(padded, 1, 1), ["t"])
    assert found.values is not None and found.position == (0, 0) and found.position_grid == grid
    on_image = sample(padded).placement.to_image(found.values)
    row, column = np.unravel_index(on_image.argmax(), on_image.shape)
    assert 8 <= row < 16 and 16 <= column < 24, "tokens 2 and 3 down, 4 and 5 to the right"
    if grid == (6, 8):
        expected = np.zeros((3, 4))
        expected[1, 2] = 1
    else:
        expected = np.zeros(grid)
        expected[2:4, 4:6] = 0.25
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    distance = measure(record, padded)["mean_distance"][0]
    rows, columns = np.mgrid[: grid[0], : grid[1]] * 4.0 + 2
    assert distance == pytest.approx(np.hypot(rows - 12, columns - 20).mean(), rel=1e-5)


def test_a_smaller_map_is_rolled_out_as_if_it_were_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(1, 1, 35, 6, generator=generator).double().softmax(-1)
    record = Attention(
        raw, lambda a: a[0], "self", 6, query_grids=((5, 7),), key_grids=((2, 3),), reduction=2
    )
    shares = square_shares(record).toarray()
    assert shares.shape == (6, 35) and (shares[0] > 0).nonzero()[0].tolist() == [0, 1, 7, 8]
    np.testing.assert_allclose(shares.sum(1), 1)
    lazy, full = over_tokens(record, record.matrix()), record.matrix() @ shares
    np.testing.assert_allclose(lazy.toarray(), full)
    rows = np.eye(35)[[3, 20]]
    np.testing.assert_allclose(
        rollout_rows([with_residual(lazy)] * 2, rows), rollout_rows([with_residual(full)] * 2, rows)
    )
    np.testing.assert_allclose(relevance_rows([lazy] * 2, rows), relevance_rows([full] * 2, rows))
    decoder = [DecoderStep("cross", np.random.default_rng(0).random((2, 35)))] * 2
    np.testing.assert_allclose(
        decoder_relevance([lazy] * 2, decoder, 2, 35)[0],
        decoder_relevance([full] * 2, decoder, 2, 35)[0],
    )
    ramp = np.arange(35.0)
    np.testing.assert_allclose(with_residual(lazy) @ ramp, with_residual(full) @ ramp)


def test_a_finer_map_behind_a_coarse_one_copies_its_cells() -> None:
    copy = merge_matrix((2, 4), (1, 2)).toarray()
    assert copy.argmax(1).tolist() == [0, 0, 1, 1, 0, 0, 1, 1] and (copy.sum(1) == 1).all()


def test_tokens_in_front_go_on_where_there_are_as_many() -> None:
    """A class token passes a merging of patches; from none before, one comes from nothing."""

    def record(front: int, grid: tuple[int, int]) -> Attention:
        tokens = front + grid[0] * grid[1]
        raw = torch.full((1, 1, tokens, tokens), 1 / tokens)
        grids = {"query_grids": (grid,), "key_grids": (grid,)}
        return Attention(raw, lambda a: a[0], "self", tokens, **grids)  # type: ignore[arg-type]

    assert _join(record(1, (2, 2)), record(1, (2, 2))) is None
    kept = _join(record(1, (1, 2)), record(1, (2, 4)))
    assert kept is not None and kept.shape == (3, 9)
    assert kept.toarray()[0].tolist() == [1, *[0] * 8]
    assert kept.toarray()[1].tolist() == [0, 0.25, 0.25, 0, 0, 0.25, 0.25, 0, 0]
    new = _join(record(1, (2, 2)), record(0, (2, 2)))
    assert new is not None and not new.toarray()[0].any()
    np.testing.assert_array_equal(new.toarray()[1:], np.eye(4))


def segmenter_head(classes: int = 3) -> SegmenterMaskTransformerHead:
    torch.manual_seed(0)
    return SegmenterMaskTransformerHead(
        in_channels=8, channels=8, embed_dims=8, num_layers=1, num_heads=2, num_classes=classes
    ).eval()


def test_tokens_of_classes_stand_behind_the_patches() -> None:
    """The row of a place and that of a class, beside torch's own weights."""
    head, grid = segmenter_head(), (4, 5)
    features = torch.randn(1, 8, *grid, generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    inner = head.layers[0].attn.attn
    handle = inner.register_forward_hook(
        lambda module, args, kwargs, y: seen.append(kwargs["query"]), with_kwargs=True
    )
    with torch.no_grad(), recorded_attention({"attn": inner}, (64, 80), model=head) as records:
        head([features])
    handle.remove()
    (record,) = records
    assert record.behind == 3 and record.query_grids == record.key_grids == (grid,)
    with torch.no_grad():
        expected = inner(seen[0], seen[0], seen[0])[1][0].numpy()  # (23, 23), mean of the heads
    wish = target((64, 80), 40, 20, label=2)  # the cell in row 1, column 2
    ((place, of_class),) = _of_records(records, sample((64, 80)), wish, ["a", "b", "c"])
    np.testing.assert_allclose(place.values, expected[7, :20].reshape(grid), atol=1e-6)
    np.testing.assert_allclose(of_class.values, expected[22, :20].reshape(grid), atol=1e-6)
    assert place.position == (1, 2) and of_class.name == "token of c, mean of 2 heads"
    assert place.numbers["on_class_tokens"] == pytest.approx(expected[7, 20:].sum(), abs=1e-6)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("images") / "scene.png"
    cv2.imwrite(str(file), draw_scene((64, 64), 0).image)
    return file


@pytest.mark.parametrize(("classes", "patch"), [(10, 16), (2, 8)])
def test_segmenter_from_its_classes_to_the_image(image: Path, classes: int, patch: int) -> None:
    """The encoder has a class token in front, the head tokens of classes behind."""
    torch.manual_seed(0)
    network = Network(segmenter(classes, patch), None, "cpu")
    one = network.prepare(image)
    wish = choose_target(parse_target(["pixel=20,30"], network.classes), network,
                         network.outputs_of(one), one)  # fmt: skip
    side = 64 // patch
    found = explain(network, one, wish, "rollout") + explain(network, one, wish, "relevance")
    assert [e.name.count("token of the class") for e in found] == [0, 1, 0, 1]
    for e in found:
        assert e.values is not None and e.values.shape == (side, side) and "4 layers" in e.name
        assert np.isfinite(e.values).all() and e.values.max() > 0
    row, column = np.unravel_index(found[0].values.argmax(), (side, side))  # the pixel itself
    assert (row, column) == (30 // patch, 20 // patch)
    assert not any("forward" in vars(module) for module in network.model.modules())


def test_segformer_from_its_last_stage_to_the_image(
    image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Network(segformer(), None, "cpu")
    one = network.prepare(image)
    wish = choose_target(parse_target(["pixel=20,30"], network.classes), network,
                         network.outputs_of(one), one)  # fmt: skip
    (rollout,) = explain(network, one, wish, "rollout")
    assert rollout.values is not None and rollout.values.shape == (16, 16)
    assert "4 layers" in rollout.name and rollout.values.sum() == pytest.approx(1)
    row, column = np.unravel_index(rollout.values.argmax(), (16, 16))
    assert row // 8 == 0 and column // 8 == 0, "the token of the last stage that holds the pixel"
    (relevance,) = explain(network, one, wish, "relevance")
    assert relevance.values is not None and relevance.values.shape == (16, 16)
    monkeypatch.setattr("mmattn.explain.token_maps._gradients", lambda y, r: [None] * len(r))
    (nothing,) = explain(network, one, wish, "relevance")
    assert nothing.values is not None and not nothing.values.any(), "what a token is to itself"
    (attention,) = explain(network, one, wish, "attention", "backbone.layers.0.1.0")
    assert attention.values is not None and attention.values.shape == (4, 4)


def test_layouts_hold_while_the_network_runs_and_are_put_back() -> None:
    """Kernels of K-Net have no place, even if a map has as many cells; a wrapped forward stays."""

    class KernelUpdateHead(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x)[0]

    KernelUpdateHead.__module__ = "mmseg.models.decode_heads.knet_head"
    KernelUpdateHead.__qualname__ = "KernelUpdateHead"
    head = KernelUpdateHead().eval()
    wrapped = head.forward
    head.forward = wrapped  # as others wrap a forward
    x = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(0))
    modules = {"attention": head.attention}
    with torch.no_grad(), recorded_attention(modules, (64, 64), model=head) as records:
        assert head.forward is not wrapped
        head(x)
    assert vars(head)["forward"] is wrapped
    assert records[0].query_grids == records[0].key_grids == ()
    with torch.no_grad(), recorded_attention(modules, (64, 64)) as records:
        head(x)
    assert records[0].query_grids == ((4, 4),), "by a stride of the image, without the head"


def test_calls_of_a_shared_module_have_numbers_and_keys_of_their_own() -> None:
    assert call_numbers(["a", "b", "a"]) == [1, 0, 2]
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), recorded_attention({"shared": layer}, (64, 64)) as records:
        y = layer(x, x, x)[0]
        layer(y, y, y)
    assert [record.call for record in records] == [1, 2]
    groups = _of_records(records, sample((64, 64)), target((64, 64), 20, 30), ["t"])
    keys = [one.key for (one,) in groups]
    assert keys == [f"attention_shared_call_{n}_mean_of_2_heads" for n in (1, 2)]
