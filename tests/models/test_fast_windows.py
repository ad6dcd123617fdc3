"""Promises of ``mmattn.WithFastWindows``: the same Swin, with a faster window attention."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmattn.config import load_config
from mmattn.config.registry_scope import enter_scope
from mmattn.errors import ConfigError
from mmattn.layers import fast_windows
from mmattn.layers.fast_windows import use_fast_windows
from mmattn.models import WithFastWindows
from mmattn.registry import MODELS
from tests.support.code_blocks import read_code_blocks

TOY: dict[str, Any] = {
    "embed_dims": 12, "depths": (2, 2), "num_heads": (2, 3), "strides": (4, 2), "window_size": 5,
    "out_indices": (0, 1), "mlp_ratio": 1, "drop_path_rate": 0.0,
}  # fmt: skip
#: Network -> its config and a size that it takes. Every level is padded, in both axes, and the
#: last one is smaller than a window in one of them.
NETWORKS = {
    "mmdet": ({"type": "mmdet.SwinTransformer", **TOY}, (53, 29)),
    "mmseg": ({"type": "mmseg.SwinTransformer", **TOY}, (53, 29)),
    "timm": (
        {
            "type": "mmattn.TimmBackbone", "model_name": "swin_tiny_patch4_window7_224",
            "img_size": (92, 52), "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 3),
            "window_size": (5, 4), "mlp_ratio": 1, "drop_path_rate": 0.0, "out_indices": (0, 1),
        },
        (92, 52),
    ),
}  # fmt: skip


def upstream(name: str, **changes: Any) -> nn.Module:
    """The toy network as it is, with random tables."""
    torch.manual_seed(0)
    network = MODELS.build({**NETWORKS[name][0], **changes})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network


def pair(name: str, **changes: Any) -> tuple[nn.Module, nn.Module]:
    """The same network twice, the second with fast windows."""
    network = upstream(name, **changes)
    fast = copy.deepcopy(network)
    assert use_fast_windows(fast) == 4
    return network, fast


def images(name: str, batch: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, 3, *NETWORKS[name][1])


def outputs_and_gradients(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Maps, and the gradients of image and weights."""
    x = x.clone().requires_grad_()
    maps = network(x)
    wanted = [x, *(p for p in network.parameters() if p.requires_grad)]
    loss = sum((m.float() * torch.linspace(-1, 1, m.numel()).view_as(m)).sum() for m in maps)
    network.zero_grad()
    loss.backward()  # mmdet's checkpointing allows no torch.autograd.grad
    return [*maps, *(torch.zeros(1) if w.grad is None else w.grad for w in wanted)]


def assert_same(actual: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-3)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operator raise."""

    def refuse(*args: Any, **kwargs: Any) -> Tensor:
        raise AssertionError("the operator was called")

    monkeypatch.setattr(fast_windows, "window_attention", refuse)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_and_gradients_are_upstreams(name: str) -> None:
    """Those of the relative position biases too, in float64."""
    network, fast = (n.double() for n in pair(name))
    x = images(name).double()
    expected = outputs_and_gradients(network, x)
    assert_same(outputs_and_gradients(fast, x), expected, 1e-9)
    tables = [p for key, p in network.named_parameters() if key.endswith("bias_table")]
    assert len(tables) == 4


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_keep_their_names(name: str) -> None:
    network, fast = pair(name)
    assert list(fast.state_dict()) == list(network.state_dict())
    fast.load_state_dict(network.state_dict(), strict=True)
    assert isinstance(fast, type(network))
    layers = [m for m in fast.modules() if type(m).__name__.startswith("Fast")]
    assert len(layers) == 4


@pytest.mark.parametrize("name", NETWORKS)
def test_the_operator_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, fast = pair(name)
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="operator was called"):
        fast(images(name, 1))


@pytest.mark.parametrize("name", ["mmdet", "mmseg"])
def test_checkpointing_and_frozen_stages_are_as_before(name: str) -> None:
    network, fast = pair(name, with_cp=True, frozen_stages=1)
    for one in (network, fast):
        one.train()
    frozen = [key for key, p in network.named_parameters() if not p.requires_grad]
    assert frozen and frozen == [key for key, p in fast.named_parameters() if not p.requires_grad]
    x = images(name)
    assert_same(outputs_and_gradients(fast, x), outputs_and_gradients(network, x), 1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_is_close_to_full_precision(name: str) -> None:
    network, fast = pair(name)
    x = images(name)
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            theirs, ours = network(x), fast(x)
    for truth, a, b in zip(exact, theirs, ours, strict=True):
        assert a.dtype == b.dtype
        scale = truth.abs().max()
        assert (b - truth).abs().max() <= 0.02 * scale + 1.5 * (a - truth).abs().max()


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_graphs_are_upstreams(name: str) -> None:
    network, fast = pair(name)
    graphs = []
    for one in (network, fast):
        one.eval()
        program = torch.export.export(one, (images(name, 1),))
        graphs.append([(node.op, str(node.target)) for node in program.graph.nodes])
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("place", ["w_msa", "w_msa.softmax", "w_msa.qkv"])
def test_hooks_inside_of_the_layer_are_called(place: str) -> None:
    network, fast = pair("mmdet")
    seen: dict[int, list[Tensor]] = {}
    for number, one in enumerate((network, fast)):
        layer = one.stages[1].blocks[1].attn.get_submodule(place)
        seen[number] = []
        layer.register_forward_hook(lambda m, i, o, n=number: seen[n].append(o))
        one(images("mmdet"))
    assert_same(seen[1], seen[0], 1e-4)
    assert len(seen[1]) == 1


@pytest.mark.parametrize("name", ["mmdet", "timm"])
def test_dropout_of_weights_is_upstreams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rate = {"attn_drop_rate": 0.5}
    network, fast = pair(name, **rate)
    for one in (network, fast):
        one.train()
    x = images(name, 1)
    torch.manual_seed(3)
    expected = network(x)
    torch.manual_seed(3)
    with monkeypatch.context() as patch:
        forbid(patch)
        assert_same(list(fast(x)), list(expected), 1e-6)
    fast.eval()  # where there is no dropout, the operator runs
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="operator was called"):
        fast(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_and_pickles_stay_fast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, fast = pair(name)
    x = images(name, 1)
    expected = list(fast(x))
    copies = [copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))]
    for one in copies:
        assert_same(list(one(x)), expected, 0)
        assert use_fast_windows(one) == 4
    forbid(monkeypatch)
    for one in copies:
        with pytest.raises(AssertionError, match="operator was called"):
            one(x)


def test_a_replaced_projection_is_asked_for_its_padding() -> None:
    """Padded positions are keys with the values that the projection makes of zeros."""
    network, fast = pair("mmdet")

    class Shifted(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) + 1

    for one in (network, fast):
        attention = one.stages[0].blocks[0].attn.w_msa
        attention.qkv = Shifted(attention.qkv)
    x = images("mmdet", 1)
    assert_same(list(fast(x)), list(network(x)), 1e-4)


def test_the_switch_of_the_guide_builds(repo: Path, tmp_path: Path) -> None:
    """The config of docs/operators.md, with fewer blocks."""
    (block,) = (
        b for b in read_code_blocks(repo / "docs/operators.md") if "WithFastWindows" in b.code
    )
    file = tmp_path / "config.py"
    file.write_text(block.code, encoding="utf-8")
    cfg = load_config(file)
    cfg.merge_from_dict({"model.backbone.inner": {"init_cfg": None, "depths": [1, 1, 2, 1]}})
    enter_scope(cfg)
    network = MODELS.build(cfg.model.backbone)
    assert type(network).__module__ == "mmseg.models.backbones.swin"
    assert use_fast_windows(network) == 5


def test_a_module_may_be_given_too() -> None:
    assert WithFastWindows(upstream("timm")).out_channels == [12, 24]


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"type": "mmdet.ResNet", "depth": 18}, "ResNet has no window attention .* no Swin block"),
        (
            {"type": "mmattn.TimmBackbone", "model_name": "swinv2_tiny_window8_256",
             "embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2), "out_indices": (0, 1)},
            "TimmBackbone has no .* Swin V2 compares queries and keys by their cosine",
        ),
        ("SwinTransformer", "inner must be a config"),
    ],
    ids=["resnet", "swin v2", "no config"],
)  # fmt: skip
def test_networks_without_such_windows_are_refused(inner: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"WithFastWindows: .*{message}"):
        MODELS.build({"type": "mmattn.WithFastWindows", "inner": inner})
