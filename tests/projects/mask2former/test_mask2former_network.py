"""Promise: the network has the published size, and attends to what its masks show."""

from __future__ import annotations

import pytest
import torch

from mmattn.errors import ConfigError
from mmattn.projects.mask2former import Mask2FormerNetwork
from mmattn.projects.mask2former.network import allowed_pixels
from mmattn.projects.mask2former.positions import sine_positions

CHANNELS = {
    "R50": [256, 512, 1024, 2048],
    "Swin-T": [96, 192, 384, 768],
    "Swin-B": [128, 256, 512, 1024],
    "Swin-L": [192, 384, 768, 1536],
}
PIXEL_DECODER = {
    "R50": 6_035_904,
    "Swin-T": 5_421_504,
    "Swin-B": 5_544_384,
    "Swin-L": 5_790_144,
}


@pytest.mark.parametrize("backbone", CHANNELS)
@pytest.mark.parametrize(("queries", "decoder"), [(100, 14_458_624), (200, 14_509_824)])
def test_parameters(backbone: str, queries: int, decoder: int) -> None:
    with torch.device("meta"):
        model = Mask2FormerNetwork(CHANNELS[backbone], 133, num_queries=queries)
    pixel_decoder = sum(p.numel() for p in model.pixel_decoder.parameters())
    assert pixel_decoder == PIXEL_DECODER[backbone]
    whole = sum(p.numel() for p in model.parameters())
    assert whole - pixel_decoder - 257 * 134 == decoder


def test_masks_choose_pixels_and_an_empty_one_chooses_all() -> None:
    features = torch.tensor([[1.0, -1.0], [0.0, 2.0]]).view(1, 1, 2, 2)
    allowed = allowed_pixels(torch.tensor([[[1.0], [-1.0], [0.0]]]), features)
    assert allowed.tolist() == [[[
        [True, False, True, True], [False, True, True, False], [True] * 4,
    ]]]  # fmt: skip
    nowhere = allowed_pixels(torch.tensor([[[-1.0]]]), features.abs() + 1)
    assert nowhere.all()


def test_a_query_with_an_empty_mask_attends_everywhere() -> None:
    """Its result depends on every pixel, and is finite."""
    torch.manual_seed(0)
    model = small().eval()
    with torch.no_grad():
        # Every mask is negative everywhere: features are 1, embeddings -1.
        for layer in (model.pixel_decoder.mask_feature, model.mask_embed[4]):
            layer.weight.zero_()
            layer.bias.fill_(1.0)
        model.mask_embed[4].bias.fill_(-1.0)
    features = [torch.randn(1, c, 16 // 2**i, 16 // 2**i) for i, c in enumerate((8, 12, 16, 20))]
    first = model.predict_masks(features, every_layer=False).class_logits
    features[3] = features[3].clone()
    features[3][0, 0, 1, 1] += 1
    second = model.predict_masks(features, every_layer=False).class_logits
    assert first.isfinite().all()
    assert ((first - second).abs().amax(dim=3) > 0).all()


def small(**options) -> Mask2FormerNetwork:
    shape = {"channels": 32, "num_queries": 6, "encoder_layers": 2, "decoder_layers": 3}
    return Mask2FormerNetwork([8, 12, 16, 20], 5, **{**shape, **options})


def test_recomputing_changes_nothing() -> None:
    features = [torch.randn(1, c, 16 // 2**i, 16 // 2**i) for i, c in enumerate((8, 12, 16, 20))]
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = small(recompute=recompute)
        model.predict_masks(features, every_layer=True).mask_logits().square().sum().backward()
        gradients.append(
            [p.grad for name, p in model.named_parameters() if "pixel_decoder" in name]
        )
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, kept)


def test_positions() -> None:
    """Rows come first, sine before cosine; 2 pi is the last row."""
    encoded = sine_positions(3, 5, 8).view(3, 5, 8)
    y, x = torch.tensor([1.0, 2.0, 3.0]) / 3, torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) / 5
    full = 2 * torch.pi
    torch.testing.assert_close(encoded[:, 2, 0], (full * y).sin(), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoded[:, 2, 1], (full * y).cos(), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoded[:, 2, 2], (full * y / 100).sin(), rtol=0, atol=1e-5)
    torch.testing.assert_close(encoded[1, :, 4], (full * x).sin(), rtol=0, atol=1e-5)


def test_initial_weights_are_the_authors() -> None:
    torch.manual_seed(0)
    model = Mask2FormerNetwork(CHANNELS["R50"], 5, encoder_layers=1, decoder_layers=1)
    attention = model.pixel_decoder.encoder.layers[0].self_attn
    offsets = attention.sampling_offsets.bias.detach().view(8, 3, 4, 2)
    assert torch.allclose(offsets[0, :, :, 0], torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert torch.allclose(offsets[1, 0, 1], torch.tensor([2.0, 2.0]))
    assert torch.allclose(offsets[4, 2, 3], torch.tensor([-4.0, 0.0]), atol=1e-5)
    assert not attention.attention_weights.weight.any()
    decoder = model.transformer_decoder.layers[0]
    for weight in (decoder.ffn.layers[0][0].weight, decoder.cross_attn.attn.in_proj_weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.95 * bound < weight.abs().max() <= bound


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 48}, "channels must be a multiple of 32 and of num_heads=8, got 48"),
        ({"num_levels": 5}, "has 4 feature maps, and num_levels=5"),
    ],
)
def test_arguments_that_do_not_fit(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        small(**options)


@pytest.mark.parametrize("name", ["num_queries", "decoder_layers", "encoder_layers"])
def test_numbers_below_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        small(**{name: 0})


def test_another_number_of_feature_maps() -> None:
    with pytest.raises(ValueError, match=r"has 4 feature maps, in_channels=.*, got 1"):
        small().predict_masks([torch.zeros(1, 8, 4, 4)], every_layer=False)
