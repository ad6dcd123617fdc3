"""mmseg's SAN starts without the weights of CLIP, and from them where they are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

NARROW = {"embed_dims": 16, "num_heads": 2, "mlp_ratio": 2}


@pytest.fixture(autouse=True)
def in_the_scope_of_mmseg() -> Iterator[None]:
    """Where the layers of mmcv find mmseg's activation of CLIP."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def text_encoder(**rest) -> nn.Module:
    from mmseg.models.text_encoder import CLIPTextEncoder

    size = {"total_vocab_size": 20, "context_length": 7, "num_layers": 1, "output_dims": 8}
    return CLIPTextEncoder(vocabulary=["a"], **NARROW, **size, **rest)


def head(**rest) -> nn.Module:
    """SAN's head with its two parts: the side adapter, and what goes on CLIP's layers."""
    from mmengine.config import ConfigDict
    from mmseg.models.decode_heads.san_head import SideAdapterCLIPHead

    side = {"in_channels": 3, "clip_channels": 16, "embed_dims": 12, "num_queries": 4}
    side |= {"cfg_encoder": {"num_encode_layer": 1, "num_heads": 2, "mlp_ratio": 2}}
    side |= {"cfg_decoder": {"num_heads": 2, "num_layers": 1, "embed_channels": 8}}
    side["cfg_decoder"] |= {"mlp_channels": 8, "num_mlp": 1, "rescale": True}
    side |= {"fusion_index": [0], "norm_cfg": {"type": "LN"}}
    top = {"sos_token_num": 4, "num_layers": 1, "out_dims": 8, **NARROW}
    return SideAdapterCLIPHead(
        num_classes=3,
        san_cfg=ConfigDict(side),
        maskgen_cfg=ConfigDict(top),
        deep_supervision_idxs=[0],
        train_cfg=None,
        **rest,
    )


def weights_in(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def test_the_head_starts_without_clip() -> None:
    san = head()
    drawn = weights_in(san.rec_with_attnbias)
    san.init_weights()
    kept = weights_in(san.rec_with_attnbias)
    assert all(torch.equal(kept[name], value) for name, value in drawn.items())
    assert san.side_adapter_network.query_embed.any(), "SAN's own weights are drawn as ever"


def test_the_text_encoder_draws_every_weight() -> None:
    """The constructor leaves two of them as the memory happened to be."""
    encoder = text_encoder()
    with torch.no_grad():
        encoder.positional_embedding.fill_(float("nan"))
        encoder.text_projection.fill_(float("nan"))
    encoder.init_weights()
    assert all(torch.isfinite(value).all() for value in weights_in(encoder).values())
    assert 0.005 < encoder.positional_embedding.std() < 0.02
    assert 0.15 < encoder.text_projection.std() < 0.35, "16 ** -0.5 = 0.25"


@pytest.fixture
def clip(tmp_path: Path) -> dict[str, str]:
    """``init_cfg`` of a file of CLIP, laid out as mmseg converts it; of 0.5 alone."""
    parts = {"text_encoder": text_encoder()}
    parts["decode_head.rec_with_attnbias"] = head().rec_with_attnbias
    state = {
        f"{prefix}.{name}": torch.full_like(value, 0.5)
        for prefix, module in parts.items()
        for name, value in module.named_parameters()
    }
    del state["text_encoder.bg_embed"]  # SAN's own; CLIP has none
    torch.save(state, tmp_path / "clip.pth")
    return {"type": "Pretrained_Part", "checkpoint": str(tmp_path / "clip.pth")}


def test_the_weights_of_clip_are_taken_where_they_are(clip: dict[str, str]) -> None:
    san, encoder = head(init_cfg=clip), text_encoder(init_cfg=clip)
    san.init_weights()
    encoder.init_weights()
    assert all((value == 0.5).all() for value in weights_in(san.rec_with_attnbias).values())
    taken = weights_in(encoder)
    own = taken.pop("bg_embed")
    assert all((value == 0.5).all() for value in taken.values())
    assert own.std() > 0, "what CLIP does not have keeps SAN's own weights"
    assert not (own == 0.5).any()
