"""Promises of ``mmattn.WithPlugins``: any block at any place; the network stays what it was."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from mmdet.models.backbones import ResNet, SwinTransformer
from mmengine.config import ConfigDict
from mmengine.model import BaseModule, revert_sync_batchnorm
from torch import Tensor, nn

from mmattn.errors import CheckpointError, ConfigError
from mmattn.io import load_state_dict
from mmattn.registry import MODELS

RESNET = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8, "norm_eval": False}
SWIN = {
    "type": "mmdet.SwinTransformer",
    "embed_dims": 8,
    "depths": (1, 2, 1, 1),
    "num_heads": (1, 1, 2, 2),
    "window_size": 4,
}
MIT = {
    "type": "mmseg.MixVisionTransformer",
    "embed_dims": 4,
    "num_layers": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
}
FPN = {"type": "mmdet.FPN", "in_channels": [8, 16, 32], "out_channels": 8, "num_outs": 4}


class Scale(nn.Module):
    """Times ``factor``, with a weight per channel: an effect that is plain to see."""

    def __init__(self, in_channels: int, *, factor: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((in_channels, 1, 1), float(factor)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Normed(nn.Module):
    """A block with batch norm, whose own initial state is a bias of 3."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.linear = nn.Linear(in_channels, in_channels)
        self.norm = nn.BatchNorm2d(in_channels)
        self.init_weights()

    def init_weights(self) -> None:
        nn.init.constant_(self.linear.bias, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) + self.linear.bias[:, None, None] * 0


def build(inner: Any, *plugins: dict, **kwargs) -> nn.Module:
    """The network in eval mode, with the same random weights every time."""
    torch.manual_seed(0)
    cfg = {"type": "mmattn.WithPlugins", "inner": inner, "plugins": list(plugins), **kwargs}
    network = MODELS.build(cfg)
    network.eval()
    return network


def plain(inner: dict) -> nn.Module:
    torch.manual_seed(0)
    network = MODELS.build(inner)
    network.eval()
    return network


def scale(factor: float = 2.0, **where) -> dict:
    return {"cfg": {"type": Scale, "factor": factor}, **where}


def images(size: tuple[int, int] = (64, 64)) -> Tensor:
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


def test_what_is_built_is_the_inner_network_with_its_keys() -> None:
    network = build(RESNET, scale(stages=(0,)), scale(at="layer3.*.conv2"))
    assert type(network) is ResNet
    own = {key for key in network.state_dict() if not key.startswith("plugins.")}
    assert own == set(plain(RESNET).state_dict())
    assert set(network.state_dict()) - own == {
        "plugins.map0_scale.weight",
        "plugins.layer3_0_conv2_scale.weight",
        "plugins.layer3_1_conv2_scale.weight",
    }


@pytest.mark.parametrize("stages", [(False, True, False, True), (1, 3), [3, 1]])
def test_stages_are_the_returned_maps(stages) -> None:
    before, after = plain(RESNET)(images()), build(RESNET, scale(stages=stages))(images())
    assert isinstance(after, tuple)
    for index, (a, b) in enumerate(zip(before, after, strict=True)):
        assert torch.equal(b, 2 * a if index in (1, 3) else a), "later stages see the map without"


def test_at_acts_behind_each_match_with_weights_of_its_own() -> None:
    network = build(RESNET, scale(1.0, at=["layer3.*.conv2", "layer1"]))
    reference = plain(RESNET)
    x = images()
    for a, b in zip(network(x), reference(x), strict=True):
        assert torch.equal(a, b)
    first, second = network.plugins["layer3_0_conv2_scale"], network.plugins["layer3_1_conv2_scale"]
    assert first.weight is not second.weight
    first.weight.data.fill_(3)
    reference.layer3[0].conv2.weight.data.mul_(3)
    for a, b in zip(network(x), reference(x), strict=True):
        torch.testing.assert_close(a, b)
    assert network.plugins["layer1_scale"].weight.shape[0] == 8
    assert first.weight.shape[0] == 32


def test_several_at_one_place_act_in_their_order() -> None:
    class Shift(nn.Module):
        def __init__(self, in_channels: int):
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    shift = {"cfg": {"type": Shift}}
    before = plain(RESNET)(images())[-1]
    for where in ({"stages": (3,)}, {"at": "layer4"}):
        x = build(RESNET, scale(**where), shift | where)(images())[-1]
        y = build(RESNET, shift | where, scale(**where))(images())[-1]
        assert torch.equal(x, 2 * before + 1)
        assert torch.equal(y, 2 * (before + 1))
    twice = build(RESNET, scale(stages=(3,)), scale(3.0, stages=(3,)))
    assert list(twice.plugins) == ["map3_scale", "map3_scale_2"]
    nested = build(twice, scale(stages=(3,)))
    assert list(nested.plugins) == ["map3_scale", "map3_scale_2", "map3_scale_3"]
    torch.testing.assert_close(nested(images())[-1], 12 * before)


NETWORKS = {
    "swin": (SWIN, "stages.*.blocks.*", [8, 16, 16, 32, 64]),  # tokens, told their grid
    "mit": (MIT, "layers.*.1.*", [4, 4, 4, 4]),
    "fpn": (FPN, "fpn_convs.*", [8, 8, 8]),
    "pvt": (
        {
            "type": "mmdet.PyramidVisionTransformerV2",
            "embed_dims": 4,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 2, 5, 8],
        },
        "layers.*.1.0",
        [4, 8, 20, 32],
    ),
    "yolo": (
        {
            "type": "mmdet.YOLOV3Neck",
            "num_scales": 3,
            "in_channels": [32, 16, 8],  # from the smallest map
            "out_channels": [16, 8, 4],
        },
        "detect1",
        [16],
    ),
    "bfp": ({"type": "mmdet.BFP", "in_channels": 8, "num_levels": 5}, None, []),
    "hrnet": (
        {
            "type": "mmseg.HRNet",
            "extra": {
                f"stage{i}": {
                    "num_modules": 1,
                    "num_branches": i,
                    "block": "BOTTLENECK" if i == 1 else "BASIC",
                    "num_blocks": (1,) * i,
                    "num_channels": (64,) if i == 1 else tuple(4 * 2**j for j in range(i)),
                }
                for i in range(1, 5)
            },
        },
        "stage4.0.branches.*",
        [4, 8, 16, 32],
    ),
    # Its stem folds pixels into channels.
    "csp": (
        {"type": "mmdet.CSPDarknet", "widen_factor": 0.125, "deepen_factor": 0.1},
        "stage1",
        [16],
    ),
    # Its in_channels is what the last layer was built with.
    "mobilenet": ({"type": "mmdet.MobileNetV2", "widen_factor": 0.25}, "layer2", [8]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_are_found_in_networks_of_every_kind(name: str) -> None:
    inner, pattern, channels = NETWORKS[name]
    entries = [scale(1.0, at=pattern)] if pattern else []
    network = build(inner, *entries, scale(1.0, stages=(0, 1)))
    found = [block.weight.shape[0] for block in network.plugins.values()]
    assert found[: len(channels)] == channels
    if "in_channels" in inner:
        given = inner["in_channels"]
        levels = sorted(given) if isinstance(given, list) else 5 * [given]
        x = [torch.randn(2, c, 32 >> i, 32 >> i) for i, c in enumerate(levels)]
    else:
        x = torch.randn(2, 3, 64, 96)
    before, after = plain(inner)(x), network(x)
    assert [one.shape for one in after] == [one.shape for one in before]
    for a, b in zip(after, before, strict=True):
        assert torch.equal(a, b), "times one"
    network.train()
    sum(one.sum() for one in network(x)).backward()
    for key, block in network.plugins.items():
        assert block.weight.grad is not None and block.weight.grad.abs().sum() > 0, key
    assert network.plugins.out_channels == [one.shape[1] for one in after]


SMALL = {"channels": 4, "num_classes": 2}
HEADS = {
    "fcn": ({"type": "mmseg.FCNHead", "in_channels": 8, **SMALL}, "convs.0", [4]),
    "concat": (
        {
            "type": "mmseg.FCNHead",
            "in_channels": [8, 16],
            "in_index": [1, -1],
            "input_transform": "resize_concat",
            **SMALL,
        },
        "convs.*",
        [4, 4],
    ),
    "uper": (
        {
            "type": "mmseg.UPerHead",
            "in_channels": [8, 16, 32],
            "in_index": [0, 1, 3],
            "pool_scales": (1, 2),
            **SMALL,
        },
        ["bottleneck", "fpn_convs.*"],
        [4, 4, 4],
    ),
    "retina": (
        {"type": "mmdet.RetinaHead", "in_channels": 8, "num_classes": 2, "feat_channels": 16},
        "cls_convs.0",
        [16],
    ),
    "ccnet": ({"type": "mmattn.CCHead", "in_channels": 8, **SMALL}, "cca", [4]),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_take_blocks_inside(name: str) -> None:
    inner, pattern, channels = HEADS[name]
    head = build(inner, scale(at=pattern))
    assert [block.weight.shape[0] for block in head.plugins.values()] == channels
    if "mmseg" in inner["type"]:
        with pytest.raises(ConfigError, match=r"stages is for .*FCNHead is a head.*`at`|UPerHead"):
            build(inner, scale(stages=(0,)))


def test_a_head_of_one_map_can_be_told() -> None:
    inner = {"type": "mmdet.FCNMaskHead", "in_channels": 8, "conv_out_channels": 4}
    with pytest.raises(ConfigError, match="input_shapes"):
        build(inner, scale(at="convs.0"))
    head = build(inner, scale(at="convs.0"), input_shapes=[(8, 14, 14)])
    assert head.plugins["convs_0_scale"].weight.shape[0] == 4


def test_tokens_are_seen_as_the_image_that_they_are() -> None:
    """A block behind a transformer's layer sees rows as rows: it may tell left from right."""

    class Mark(nn.Module):
        def __init__(self, in_channels: int):
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            marked = torch.zeros_like(x)
            marked[..., 0, 1:] = 1  # the first row, but for its first column
            return marked

    network = build(SWIN, {"cfg": {"type": Mark}, "at": "stages.3.blocks.0"})
    network.norm3 = nn.Identity()
    last = network(images((96, 160)))[-1]  # (2, 64, 3, 5)
    assert last[0, 0].tolist() == [[0, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_the_dry_run_leaves_no_trace() -> None:
    torch.manual_seed(0)
    network = MODELS.build({**RESNET, "frozen_stages": 1})
    network.train()
    state = {key: value.clone() for key, value in network.state_dict().items()}
    modes = {name: module.training for name, module in network.named_modules()}
    grads = {name: p.requires_grad for name, p in network.named_parameters()}
    assert not modes["layer1.0.bn1"] and modes["layer2.0.bn1"]
    random = torch.get_rng_state()
    build_without_seed = {"type": "mmattn.WithPlugins", "inner": network, "plugins": []}
    MODELS.build(build_without_seed | {"plugins": [scale(stages=(3,))]})
    assert torch.equal(torch.get_rng_state(), random), "a block of constants draws no numbers"
    for key, value in state.items():
        assert torch.equal(network.state_dict()[key], value), key
    own = {n: m.training for n, m in network.named_modules() if not n.startswith("plugins")}
    assert own == modes
    own = {n: p.requires_grad for n, p in network.named_parameters() if not n.startswith("plugins")}
    assert own == grads
    assert all(p.grad is None for p in network.parameters())


def test_frozen_stages_stay_frozen_and_blocks_train() -> None:
    network = build(
        {**RESNET, "frozen_stages": 2, "norm_eval": True},
        {"cfg": {"type": Normed}, "at": "layer1.*"},
        {"cfg": {"type": Normed}, "stages": (3,), "frozen": True},
    )
    assert network.train() is network
    assert not network.layer1[0].bn1.training and not network.layer3[0].bn1.training
    assert network.plugins["layer1_0_normed"].norm.training, "it has no statistics to keep yet"
    assert not network.plugins["map3_normed"].norm.training
    trainable = {name for name, p in network.named_parameters() if p.requires_grad}
    assert not any(name.startswith(("conv1", "layer1.", "layer2.")) for name in trainable)
    assert "plugins.layer1_1_normed.linear.bias" in trainable
    assert "plugins.map3_normed.linear.bias" not in trainable
    network.eval()
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("inner", [RESNET, SWIN], ids=["resnet", "swin"])
def test_a_networks_initialisation_leaves_blocks_in_their_own_state(inner: dict) -> None:
    """Swin initialises every linear layer below it, and asks no child for its own state."""
    network = build(inner, {"cfg": {"type": Normed}, "stages": (1,)})

    class Detector(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = network

    Detector().init_weights()
    bias = network.plugins["map1_normed"].linear.bias
    assert bias.unique().tolist() == [3]
    if inner is RESNET:
        assert network.layer1[0].bn2.weight.unique().tolist() == [0], "its own was run"


@pytest.mark.parametrize("inner", [RESNET, SWIN], ids=["resnet", "swin"])
@pytest.mark.parametrize("with_blocks", [False, True])
def test_pretrained_weights_load_and_are_told_apart(
    inner: dict, with_blocks: bool, tmp_path, caplog
) -> None:
    torch.manual_seed(5)
    source = MODELS.build(inner)
    entry = {"cfg": {"type": Normed}, "stages": (1,)}
    if with_blocks:
        source = MODELS.build({"type": "mmattn.WithPlugins", "inner": source, "plugins": [entry]})
        source.plugins["map1_normed"].linear.bias.data.fill_(9)
    # mmdet's Swin looks for its weights in a detector's.
    torch.save(
        {f"backbone.{k}" if inner is SWIN else k: v for k, v in source.state_dict().items()},
        tmp_path / "w.pth",
    )
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "w.pth")}
    network = build(ConfigDict(inner, init_cfg=init), entry)
    network.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(network.state_dict()[key], value), key
    assert network.plugins["map1_normed"].linear.bias[0] == (9 if with_blocks else 3)


def test_blocks_that_a_checkpoint_does_not_know_are_not_called_missing(caplog) -> None:
    network = build(RESNET, {"cfg": {"type": Normed}, "stages": (1, 2)})
    blocks = {f"plugins.{key}" for key in network.plugins.state_dict() if "num_batch" not in key}
    report = load_state_dict(network, plain(RESNET).state_dict())
    assert set(report.missing) == set(report.newly_added) == blocks
    assert str(report).startswith("host 100 of 100, new 12 (with their initial values): plugins.")
    assert "missing" not in str(report)
    with pytest.raises(CheckpointError, match="does not fit strictly"):
        load_state_dict(network, plain(RESNET).state_dict(), strict=True)
    # A file of the network with one of them does not know the other; a part of one is missing.
    part = {key: value for key, value in network.state_dict().items() if "map2" not in key}
    report = load_state_dict(network, part)
    assert len(report.missing) == len(report.newly_added) == 6
    del part["plugins.map1_normed.linear.bias"]
    assert "missing: plugins.map1_normed.linear.bias" in str(load_state_dict(network, part))


def test_copies_are_independent_and_pickles_work() -> None:
    network = build(RESNET, scale(stages=(3,)), scale(at="layer1.0.conv1"))
    x = images()
    before = network(x)
    twin = copy.deepcopy(network)
    for block in twin.plugins.values():
        block.weight.data.zero_()
    assert torch.equal(network(x)[3], before[3]), "the copy's blocks are its own"
    assert not twin(x)[3].any()
    twin.train()
    assert not network.plugins.training
    assert len(twin.layer1[0].conv1._forward_hooks) == 1
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again(x)[3], before[3])


def test_blocks_stay_where_norms_are_exchanged() -> None:
    """As ``build_model`` and a runner do with norms that processes share."""
    inner = {**RESNET, "norm_cfg": {"type": "SyncBN"}}
    before = build(inner, scale(at="layer2.*.bn2"))
    plain_maps = plain(inner)(images())
    for convert in (revert_sync_batchnorm, nn.SyncBatchNorm.convert_sync_batchnorm):
        network = convert(copy.deepcopy(before))
        network.eval()
        for a, b in zip(network(images()), before(images()), strict=True):
            torch.testing.assert_close(a, b)
        assert not torch.equal(network(images())[1], plain_maps[1]), "the blocks act"
        network.train()
        assert len(network.layer2[0].bn2._forward_hooks) == 1, "and once"


def test_distributed_training_sees_every_parameter_once(tmp_path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1
    )
    try:
        network = build(RESNET, scale(stages=(0, 3)), scale(at="layer3.*.conv2"))
        network.train()
        wrapped = nn.parallel.DistributedDataParallel(network)
        for _ in range(2):  # the second step fails if the first missed a gradient
            sum(one.mean() for one in wrapped(images())).backward()
        assert all(p.grad is not None for p in network.plugins.parameters())
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "inner",
    [
        pytest.param(
            {**RESNET, "base_channels": 2, "num_stages": 2, "strides": (1, 2), "dilations": (1, 1),
             "out_indices": (0, 1)}, id="resnet"),
        pytest.param(SWIN, id="swin", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_it_compiles_as_one_graph_and_exports(inner: dict) -> None:
    pattern = "stages.1.blocks.*" if inner is SWIN else "layer2.0.conv1"
    network = build(inner, scale(stages=(0, 1)), scale(at=pattern))
    x = images()
    expected = network(x)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    program = torch.export.export(network, (x,))
    for outputs in (compiled(x), program.module()(x)):
        for a, b in zip(outputs, expected, strict=True):
            torch.testing.assert_close(a, b)
    assert "plugins.map0_scale.weight" in program.state_dict


def test_gradients_survive_what_a_network_does_in_place() -> None:
    """ResNets add and rectify in place what a block has returned."""
    for pattern in ("layer1.*.bn2", "layer1.*.conv1", "layer1.0", "layer1.*.relu"):
        network = build(RESNET, {"cfg": {"type": "mmattn.SE", "reduction": 4}, "at": pattern})
        network.train()
        network(images())[-1].sum().backward()
        assert all(p.grad is not None for p in network.plugins.parameters())


def test_mmsegs_pretrained_reaches_the_inner_network() -> None:
    network = build({"type": "mmseg.ResNet", "depth": 18}, scale(stages=(0,)), pretrained="w.pth")
    assert network.init_cfg == {"type": "Pretrained", "checkpoint": "w.pth"}


def test_without_blocks_it_is_the_network_alone() -> None:
    assert build(RESNET).state_dict().keys() == plain(RESNET).state_dict().keys()
    with pytest.raises(ConfigError, match="for an inner config"):
        build(plain(RESNET), scale(stages=(0,)), pretrained="w.pth")


def test_types_resolve_in_the_configs_scope() -> None:
    from mmdet.registry import MODELS as MMDET
    from mmengine.registry import DefaultScope

    name = "test_with_plugins"
    DefaultScope.get_instance(name, scope_name="mmdet")
    inner = {key: value for key, value in SWIN.items() if key != "type"} | {
        "type": "SwinTransformer"
    }
    cfg = {"type": "mmattn.WithPlugins", "inner": inner, "plugins": [scale(stages=(0,))]}
    assert type(MMDET.build(cfg)) is SwinTransformer


class Odd(BaseModule):
    """Parts that cannot take a block."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.unused = nn.Conv2d(3, 8, 3)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.shared = nn.Identity()
        self.tokens = nn.Flatten(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.shared(self.conv(self.shared(x)))
        return x, self.tokens(x).transpose(1, 2), self.pool(x)


class Doubling(nn.Module):
    def __init__(self, in_channels: int):
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x], 1)


CCA = {"type": "mmattn.CrissCrossAttention"}
MISTAKES = [
    (RESNET, scale(at="layer3.*.conv4"), r"Did you mean 'layer3.\*.conv2'.*has conv1, bn1, conv2"),
    (RESNET, scale(at="layr3"), "Did you mean 'layer3'"),
    (RESNET, scale(at="layer5.*.nothing"), r"matches no submodule of ResNet\. It has conv1"),
    (RESNET, scale(at="layer3.conv2"), r"'layer3' has 0, 1"),
    (RESNET, scale(at="layer3.0.conv2.x"), "'layer3.0.conv2' exists, but has nothing inside"),
    (RESNET, scale(at=[]), "at must be a pattern"),
    (RESNET, scale(stages=(True, False)), r"has 2 booleans, but ResNet returns 4 maps: .*64, 2, 3"),
    (RESNET, scale(stages=(0, 4)), "indices must be 0 to 3"),
    (RESNET, scale(stages=(-1,)), "indices must be 0 to 3"),
    (RESNET, scale(stages=(0, 0, 1, 1)), "names a map twice.*write True and False"),
    (RESNET, scale(stages="all"), "booleans or indices"),
    (RESNET, scale(stages=2), "booleans or indices"),
    (RESNET, scale(), "neither of `stages`"),
    (RESNET, scale(stages=(0,), at="layer1"), "both of `stages`"),
    (RESNET, scale(stages=(0,), frozn=True), "has 'frozn'.* Did you mean 'frozen'"),
    (RESNET, scale(position="after_conv1"), "Positions belong to the slots of ResNet"),
    (RESNET, {"stages": (0,)}, "has no `cfg`"),
    (RESNET, {"cfg": {"kind": "x"}, "stages": (0,)}, "must be a dict with a `type`"),
    (RESNET, {"cfg": {"type": Doubling}, "stages": (0,)}, r"\(1, 8, 5, 7\) into \(1, 16, 5, 7\)"),
    (RESNET, {"cfg": {"type": "mmattn.CrisCross"}, "stages": (0,)}, "'mmattn.CrissCrossAttention'"),
    (RESNET, {"cfg": {"type": "SE"}, "stages": (0,)}, "Did you mean 'mmattn.SE'"),
    (RESNET, {"cfg": CCA | {"reductio": 1}, "stages": (0,)}, "Did you mean 'reduction'"),
    (
        RESNET,
        {"cfg": CCA | {"reduction": 0}, "at": "layer2.0.conv1"},
        r"plugins\[0\] behind 'layer2.0.conv1': CrissCross.*the 16 channels there: .*at least 1",
    ),
    (RESNET, {"cfg": {"type": "mmdet.FPN"}, "stages": (0,)}, "FPN.*cannot be built"),
    (RESNET, {"cfg": {"type": "mmattn.WithPlugins"}, "stages": (0,)}, "a function, not a block"),
    ({"type": Odd}, scale(at="unused"), "has 'unused' but never calls it"),
    ({"type": Odd}, scale(at="pool"), "which is not a map of 4 dimensions"),
    ({"type": Odd}, scale(stages=(1,)), "tokens, and the network does not tell"),
    ({"type": Odd}, scale(at="shared"), "the number of channels changes"),
    (SWIN, scale(at="stages.0.blocks.0.attn.w_msa"), "windows or regions"),
    (FPN, scale(stages=(7,)), "indices must be 0 to 3, since FPN returns 4 maps"),
]


@pytest.mark.parametrize(("inner", "entry", "message"), MISTAKES)
def test_mistakes_are_named(inner: dict, entry: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(inner, entry)


@pytest.mark.parametrize(
    ("plugins", "message"),
    [({"cfg": 1}, "must be a list"), (["x"], r"plugins\[0\] must be a dict")],
)
def test_plugins_of_the_wrong_kind_are_named(plugins, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS.build({"type": "mmattn.WithPlugins", "inner": RESNET, "plugins": plugins})


def test_a_network_that_made_up_input_does_not_fit_can_be_told() -> None:
    class Pair(BaseModule):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(6, 4, 1)

        def forward(self, maps: list[Tensor]) -> Tensor:
            return self.conv(torch.cat(maps, 1))

    with pytest.raises(ConfigError, match=r"Pair could not be run.*input_shapes=\[\(channels"):
        build({"type": Pair}, scale(at="conv"))
    network = build({"type": Pair}, scale(at="conv"), input_shapes=[(2, 8, 8), (4, 8, 8)])
    assert network.plugins["conv_scale"].weight.shape[0] == 4
    with pytest.raises(ConfigError, match="must be a list of"):
        build({"type": Pair}, scale(at="conv"), input_shapes=[(2, 8)])


def test_initialising_again_leaves_trained_blocks_alone() -> None:
    """mmengine warns and does nothing the second time; so do we."""
    network = MODELS.build(
        {
            "type": "mmattn.WithPlugins",
            "inner": {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8},
            "plugins": [{"cfg": {"type": "mmattn.CBAM"}, "stages": (3,)}],
        }
    )
    network.init_weights()
    (block,) = network.plugins.values()
    torch.nn.init.constant_(block.ChannelGate.mlp[1].bias, 3.0)
    network.init_weights()
    assert (block.ChannelGate.mlp[1].bias == 3.0).all()


@pytest.mark.parametrize("place", [{"at": "0"}, {"stages": (0,)}])
def test_a_bare_sequential_is_refused_before_it_fails(place: dict) -> None:
    """It would call the container of the blocks as one of its layers."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
    cfg = {"type": "mmattn.WithPlugins", "plugins": [{"cfg": {"type": Scale}, **place}]}
    with pytest.raises(ConfigError, match=r"bare Sequential.*calls all its children.*self\.layers"):
        MODELS.build({**cfg, "inner": layers})

    class Own(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x))

    network = MODELS.build({**cfg, "inner": Own(*layers)})
    assert network(torch.ones(1, 3, 4, 4)).shape == (1, 8, 4, 4)
