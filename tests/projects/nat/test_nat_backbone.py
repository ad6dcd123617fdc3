"""Promise: NAT and DiNAT have the published sizes, the authors' names, and train as backbones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmattn.projects.nat import NAT
from mmattn.registry import MODELS
from mmattn.testing.module_costs import macs, parameters

#: Parameters with the authors' classifier of 1000 classes; multiply-adds of 224 x 224 in 10^9.
PUBLISHED = {
    "NAT-Mini": (19_984_174, 2.695),
    "NAT-Tiny": (27_901_582, 4.295),
    "NAT-Small": (50_743_297, 7.772),
    "NAT-Base": (89_769_652, 13.677),
}
TOY: dict[str, Any] = {
    "channels": 8, "depths": (1, 2, 1), "num_heads": (1, 2, 2), "kernel_size": 3, "mlp_ratio": 2,
    "dilations": ([1], [1, 2], [1]), "out_indices": (0, 1, 2),
}  # fmt: skip


def toy(**changes: Any) -> NAT:
    torch.manual_seed(0)
    network = MODELS.build({"type": "mmattn.NAT", **TOY, **changes})
    assert isinstance(network, NAT)
    return network


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        network = NAT(**NAT.variants[name], out_indices=())
    width = network.levels[-1].blocks[0].norm1.normalized_shape[0]
    head = 2 * width + 1000 * (width + 1)  # norm and linear layer
    count, multiply_adds = PUBLISHED[name]
    assert parameters(network) + head == count
    found = macs(network, 1, 3, 224, 224) + 1000 * width
    assert found / 1e9 == pytest.approx(multiply_adds, abs=5.1e-4)


def test_dinat_is_nat_with_dilations() -> None:
    for name in ("Mini", "Tiny"):
        assert NAT.variants[f"DiNAT-{name}"] == {
            **NAT.variants[f"NAT-{name}"],
            "dilations": NAT.variants[f"DiNAT-{name}"]["dilations"],
        }
    dilations = NAT.variants["DiNAT-Tiny"]["dilations"]
    assert dilations == ((1, 8, 1), (1, 4, 1, 4), (1, 2) * 9, (1,) * 5)
    with torch.device("meta"):
        network = NAT(**NAT.variants["DiNAT-Large"])
    assert [b.attn.dilation for b in network.levels[1].blocks] == [1, 4, 1, 4]
    scaled = {name: v["layer_scale"] for name, v in NAT.variants.items()}
    assert [name for name, scale in scaled.items() if scale] == [
        "NAT-Small",
        "NAT-Base",
        "DiNAT-Base",
    ]


def test_names_of_the_weights_are_the_authors() -> None:
    names = set(toy(layer_scale=1e-5).state_dict())
    block = {"norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"}
    expected = {f"{layer}.{part}" for layer in block for part in ("weight", "bias")}
    expected |= {"attn.rpb", "gamma1", "gamma2"}
    prefix = "levels.1.blocks.1."
    assert {name.removeprefix(prefix) for name in names if name.startswith(prefix)} == expected
    assert {n for n in names if "downsample" in n} == {
        f"levels.{i}.downsample.{part}"
        for i in (0, 1)
        for part in ("reduction.weight", "norm.weight", "norm.bias")
    }
    outside = {name for name in names if not name.startswith("levels")}
    layers = (
        "patch_embed.proj.0",
        "patch_embed.proj.1",
        "patch_embed.norm",
        *(f"norm{i}" for i in range(3)),
    )
    assert outside == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}


@pytest.mark.parametrize("size", [(32, 48), (33, 21), (1, 1)])
def test_maps_have_their_strides(size: tuple[int, int]) -> None:
    maps = toy()(torch.randn(2, 3, *size))
    expected = []
    height, width = (-(-side // 2) for side in size)
    for level in range(3):
        height, width = -(-height // 2), -(-width // 2)
        expected.append((2, 8 << level, height, width))
    assert [tuple(m.shape) for m in maps] == expected


def test_every_weight_learns_and_checkpointing_changes_nothing() -> None:
    x = torch.randn(2, 3, 32, 48)
    grads = []
    for with_cp in (False, True):
        network = toy(with_cp=with_cp, layer_scale=0.5).train()
        maps = network(x.clone().requires_grad_())
        # Not the mean of squares, which the norm of a map makes constant.
        sum((m * torch.linspace(-1, 1, m.numel()).view_as(m)).mean() for m in maps).backward()
        grads.append({name: p.grad for name, p in network.named_parameters()})
    assert all(g is not None and g.any() for g in grads[0].values())
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-4, atol=1e-6)


def test_frozen_levels_stay_as_they_are() -> None:
    network = toy(frozen_stages=1, drop_path_rate=0.5).train()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    starts = ("patch_embed.", "levels.0.", "norm0.")
    assert frozen == {n for n, _ in network.named_parameters() if n.startswith(starts)}
    assert not network.levels[0].training and network.levels[1].training


def test_exports_and_runs_elsewhere() -> None:
    network, x = toy().eval(), torch.randn(1, 3, 32, 48)
    program = torch.export.export(network, (x,))
    assert not [n for n in program.graph.nodes if "mmattn" in str(n.target)]
    for ours, theirs in zip(network(x), program.module()(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dilations": ([1], [1], [1])}, r"depths=\(1, 2, 1\).*dilations of \(1, 1, 1\) blocks"),
        ({"num_heads": (1, 2)}, "num_heads"),
        ({"out_indices": (3,)}, r"levels 0 to 2, got \(3,\)"),
        ({"frozen_stages": 4}, "frozen_stages must be -1 to 3, got 4"),
    ],
)
def test_numbers_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        toy(**changes)


def test_a_segmentor_is_built_of_it() -> None:
    network: nn.Module = toy(out_indices=(1, 2))
    assert [m.shape[1] for m in network(torch.zeros(1, 3, 32, 32))] == [16, 32]
