"""Promises of ``mmattn.TimmBackbone``: any network of timm as a backbone of mmdet and mmseg."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mmattn.errors import CheckpointError, ConfigError
from mmattn.models import TimmBackbone
from mmattn.registry import MODELS

#: Family -> (network, a size that it takes, further arguments). Those made for one size are given
#: a small one; the others take any that their stride divides.
SIZE = (64, 96)
QUICK = {
    "resnet": ("resnet10t", SIZE, {}),
    "efficientnet": ("mobilenetv2_035", SIZE, {}),
    "mobilenetv3": ("mobilenetv3_small_050", SIZE, {}),
    "convnext": ("convnext_atto", SIZE, {}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        SIZE,
        {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4},
    ),
    "pvt_v2": ("pvt_v2_b0", SIZE, {}),
    "mambaout": ("mambaout_femto", SIZE, {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1)}),
    "edgenext": ("edgenext_xx_small", SIZE, {}),
    "vit": ("vit_tiny_patch16_224", SIZE, {"embed_dim": 12, "depth": 3, "num_heads": 2}),
}
SLOW = {
    "resnext": ("resnext26ts", SIZE, {}),
    "seresnet": ("seresnet18", SIZE, {}),
    "ecaresnet": ("ecaresnet26t", SIZE, {}),
    "regnet": ("regnetx_002", SIZE, {}),
    "tf_efficientnet": ("efficientnet_b0", SIZE, {}),
    "mobilenetv4": ("mobilenetv4_conv_small_035", SIZE, {}),
    "ghostnet": ("ghostnet_050", SIZE, {}),
    "convnextv2": ("convnextv2_atto", SIZE, {}),
    "swinv2": ("swinv2_tiny_window8_256", SIZE, {}),
    "focalnet": ("focalnet_tiny_srf", SIZE, {}),
    "davit": ("davit_tiny", SIZE, {}),
    "maxvit": ("maxvit_rmlp_pico_rw_256", (64, 96), {"img_size": (64, 96)}),
    "coatnet": ("coatnet_pico_rw_224", (64, 96), {"img_size": (64, 96)}),
    "twins": ("twins_svt_small", SIZE, {}),
    "poolformer": ("poolformer_s12", SIZE, {}),
    "metaformer": ("caformer_s18", SIZE, {}),
    "nextvit": ("nextvit_small", SIZE, {}),
    "volo": ("volo_d1_224", (64, 96), {"img_size": (64, 96)}),
    "fastvit": ("fastvit_t8", SIZE, {}),
    "hiera": ("hiera_tiny_224", (64, 96), {"img_size": (64, 96)}),
    "hieradet": ("hieradet_small", SIZE, {}),
    "shvit": ("shvit_s1", SIZE, {}),
    "efficientvit": ("efficientvit_b0", SIZE, {}),
    "efficientvit_msra": ("efficientvit_m0", SIZE, {}),
    "efficientformerv2": ("efficientformerv2_s0", (64, 96), {"img_size": (64, 96)}),
    "repvit": ("repvit_m0_9", SIZE, {}),
    "inception_next": ("inception_next_atto", SIZE, {}),
    "starnet": ("starnet_s1", SIZE, {}),
    "tiny_vit": ("tiny_vit_5m_224", SIZE, {}),
    "mobilevit": ("mobilevit_xxs", SIZE, {}),
    "hgnet": ("hgnetv2_b0", SIZE, {}),
    "densenet": ("densenet121", SIZE, {}),
    "dla": ("dla34", SIZE, {}),
    "hrnet": ("hrnet_w18_small", SIZE, {}),
    "xception": ("xception41", SIZE, {}),
    "deit": ("deit_tiny_patch16_224", SIZE, {}),
    "eva": ("eva02_tiny_patch14_224", SIZE, {}),
    "xcit": ("xcit_nano_12_p8_224", SIZE, {}),
    "mvitv2": ("mvitv2_tiny", SIZE, {}),
    "rdnet": ("rdnet_tiny", SIZE, {}),
    "levit": ("levit_conv_128s", (64, 96), {"img_size": (64, 96)}),
    "gcvit": ("gcvit_xxtiny", (64, 96), {"img_size": (64, 96)}),
}
FAMILIES = [pytest.param(*spec, id=family) for family, spec in QUICK.items()] + [
    pytest.param(*spec, id=family, marks=pytest.mark.slow) for family, spec in SLOW.items()
]


def backbone(name: str = "resnet10t", **arguments: Any) -> TimmBackbone:
    torch.manual_seed(0)
    return TimmBackbone(name, **arguments).eval()


@pytest.mark.parametrize(("name", "size", "arguments"), FAMILIES)
def test_families_are_backbones_and_take_blocks(name: str, size, arguments: dict) -> None:
    """Maps are (N, C, H, W) of the channels and strides it tells; blocks get them and train."""
    inner = {"type": "mmattn.TimmBackbone", "model_name": name, **arguments}
    network = backbone(name, **arguments)
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        maps = network(x)
    assert isinstance(maps, tuple) and len(maps) == len(network.out_channels) >= 3
    for one, channels, stride in zip(maps, network.out_channels, network.strides, strict=True):
        assert one.shape[:2] == (2, channels)
        for side, whole in zip(one.shape[2:], size, strict=True):
            assert whole // stride <= side <= -(-whole // stride), "rounded down or up"
    plugged = MODELS.build(
        {
            "type": "mmattn.WithPlugins",
            "inner": inner,
            "plugins": [{"cfg": {"type": "mmattn.SE", "reduction": 4}, "stages": (0, 2)}],
        }
    )
    assert plugged.plugins.out_channels == network.out_channels
    own = {key for key in plugged.state_dict() if not key.startswith("plugins.")}
    assert own == set(network.state_dict())
    plugged.train()
    sum(one.float().square().mean() for one in plugged(x)).backward()
    without = [key for key, p in plugged.named_parameters() if p.grad is None]
    assert not without, f"distributed training would wait for {without[:5]}"


def test_a_network_that_is_made_for_one_size_says_so() -> None:
    network = backbone("maxvit_rmlp_pico_rw_256")
    with pytest.raises(ValueError, match=r"made for images of \(256, 256\).*\(64, 96\).*img_size"):
        network(torch.zeros(1, 3, 64, 96))


def test_channels_last_networks_return_what_the_others_do() -> None:
    name, _, arguments = QUICK["swin"]
    network = backbone(name, **arguments)
    x = torch.randn(1, 3, *SIZE)
    inside = network.timm_model(x)
    for ours, theirs in zip(network(x), inside, strict=True):
        assert torch.equal(ours, theirs.permute(0, 3, 1, 2))


def test_arguments_reach_the_network() -> None:
    network = backbone("convnext_atto", drop_path_rate=0.5, in_channels=5, out_indices=[-1])
    rates = {m.drop_prob for m in network.modules() if type(m).__name__ == "DropPath"}
    assert max(rates) == 0.5
    assert network(torch.zeros(1, 5, 32, 32))[0].shape == (1, 320, 1, 1)
    assert network.out_channels == [320] and network.strides == [32]


def test_norm_eval_keeps_statistics() -> None:
    network = backbone(norm_eval=True).train()
    assert network.timm_model.training
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
    before = copy.deepcopy(network.state_dict())
    network(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv2_035"])
def test_frozen_stages_are_all_that_the_first_maps_are_made_of(name: str) -> None:
    torch.manual_seed(0)
    network = TimmBackbone(name, out_indices=(1, 2, 3), frozen_stages=2)
    for model in (network, copy.deepcopy(network)):
        model.train()
        before = copy.deepcopy(model.state_dict())
        frozen_maps = [one.detach() for one in model(torch.ones(2, 3, 64, 64))[:2]]
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
        model(torch.randn(4, 3, 64, 64))[2].square().mean().backward()
        optimizer.step()
        changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
        assert changed, "the rest trains"
        for a, b in zip(model(torch.ones(2, 3, 64, 64))[:2], frozen_maps, strict=True):
            assert torch.equal(a, b), "statistics and weights are kept"
    assert all(p.requires_grad for p in TimmBackbone(name, frozen_stages=0).parameters())


@pytest.fixture
def published(tmp_path: Path):
    """A file as timm publishes it: the whole classifier, under timm's names."""

    def make(name: str, ending: str, **arguments: Any) -> tuple[nn.Module, str]:
        torch.manual_seed(7)
        full = timm.create_model(name, **arguments).eval()
        path = tmp_path / f"{name}.{ending}"
        if ending == "safetensors":
            save_file(full.state_dict(), path)
        else:
            torch.save({"state_dict": full.state_dict()}, path)
        return full, str(path)

    return make


@pytest.mark.parametrize(("ending", "how"), [("safetensors", "pretrained"), ("pth", "init_cfg")])
def test_a_published_file_loads_under_names_of_its_own(published, ending: str, how: str) -> None:
    full, path = published("resnet10t", ending)
    init = {"init_cfg": {"type": "Pretrained", "checkpoint": path}}
    network = backbone(**({"pretrained": path} if how == "pretrained" else init))
    network.init_weights()
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(network(x)[-1], full.forward_features(x))


def test_a_published_transformer_is_resized_to_another_image(published) -> None:
    """timm's own conversion runs: position embeddings of 32x32 become those of 64x32."""
    _, _, arguments = QUICK["vit"]
    full, path = published("vit_tiny_patch16_224", "pth", img_size=32, **arguments)
    network = backbone("vit_tiny_patch16_224", img_size=(64, 32), pretrained=path, **arguments)
    network.init_weights()
    own = network.timm_model.model
    assert own.pos_embed.shape[1] == 4 * 2 + 1 and full.pos_embed.shape[1] == 2 * 2 + 1
    assert torch.equal(own.pos_embed[:, 0], full.pos_embed[:, 0])
    assert torch.equal(own.blocks[2].mlp.fc1.weight, full.blocks[2].mlp.fc1.weight)


def test_its_own_checkpoints_load_in_every_way(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = TimmBackbone("resnet10t")
    torch.save(source.state_dict(), tmp_path / "own.pth")
    weights = {f"backbone.{key}": value for key, value in source.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "detector.pth")
    for init in (
        {"checkpoint": str(tmp_path / "own.pth")},
        {"checkpoint": str(tmp_path / "detector.pth"), "prefix": "backbone."},
    ):
        network = backbone(init_cfg={"type": "Pretrained", **init})
        network.init_weights()
        for key, value in source.state_dict().items():
            assert torch.equal(network.state_dict()[key], value), key


def test_wrapped_in_with_plugins_it_still_loads(published) -> None:
    full, path = published("resnet10t", "safetensors")
    inner = {"type": "mmattn.TimmBackbone", "model_name": "resnet10t", "pretrained": path}
    entry = {"cfg": {"type": "mmattn.SE"}, "at": "timm_model.layer3.0.conv2"}
    network = MODELS.build({"type": "mmattn.WithPlugins", "inner": inner, "plugins": [entry]})
    network.init_weights()
    assert torch.equal(network.timm_model.conv1[0].weight, full.conv1[0].weight)
    assert list(network.plugins) == ["timm_model_layer3_0_conv2_se"]


def test_files_of_other_networks_are_refused(published, tmp_path: Path) -> None:
    _, path = published("mobilenetv3_small_050", "pth")
    network = backbone(pretrained=path)
    with pytest.raises(CheckpointError, match=r"mobilenetv3_small_050\.pth: .*resnet10t"):
        network.init_weights()
    wide = {"conv1.0.weight": torch.zeros(1, 3, 3, 3), "layer1.0.bn1.weight": torch.zeros(5)}
    save_file(wide, tmp_path / "wide.safetensors")
    network = backbone(pretrained=str(tmp_path / "wide.safetensors"))
    with pytest.raises(CheckpointError, match="does not fit timm's resnet10t"):
        network.init_weights()
    with pytest.raises(CheckpointError, match=r"nothere\.pth"):
        backbone(pretrained="nothere.pth").init_weights()


def test_a_file_that_lacks_weights_is_reported(published, tmp_path: Path) -> None:
    from mmattn.models.timm_weights import read_timm_weights

    full, _ = published("resnet10t", "pth")
    part = {key: value for key, value in full.state_dict().items() if not key.startswith("layer4")}
    torch.save(part, tmp_path / "part.pth")
    weights, report = read_timm_weights(tmp_path / "part.pth", "resnet10t", {})
    assert 0 < report.matched < report.total
    assert report.missing and all(key.startswith("layer4") for key in report.missing)
    assert not any(key.startswith("layer4") and "tracked" not in key for key in weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_name": "resnet81"}, r"timm [\d.]+ has no model 'resnet81'\. Did you mean 'resnet"),
        ({"model_name": "resnet18.a1_in2k"}, "no weights 'a1_in2k'. Did you mean 'a1_in1k'"),
        ({"model_name": "hf-hub:timm/resnet18"}, "Nothing is downloaded here"),
        ({"model_name": None}, "expected the name of an architecture"),
        ({"out_indices": (1, 7)}, r"resnet10t has 5 maps, of strides \[2, 4, 8, 16, 32\]"),
        (
            {"drop_pth_rate": 0.1},
            "argument 'drop_pth_rate' for timm's .*Did you mean 'drop_path_rate'",
        ),
        ({"feature_cls": "nonsense"}, "cannot be built for its feature maps: Unknown feature"),
        ({"frozen_stages": 6}, "returns 5 maps, so it must be 0 to 5"),
        ({"pretrained": True}, "must be the path of a file"),
        ({"pretrained": "https://example.org/x.pth"}, "would be downloaded"),
        ({"init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://x"}}, "be downloaded"),
    ],
)  # fmt: skip
def test_mistakes_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TimmBackbone(**{"model_name": "resnet10t", **arguments})


def test_only_the_size_is_blamed_on_the_size() -> None:
    backbone = TimmBackbone("resnet18")
    with pytest.raises(RuntimeError) as failure:
        backbone(torch.zeros(1, 1, 64, 96))
    assert "img_size" not in str(failure.value)
    with pytest.raises(RuntimeError) as failure:
        backbone(torch.zeros(1, 3, 64, 96, dtype=torch.float64))
    assert "img_size" not in str(failure.value)
