"""Promise: folds are exact, and ``fuse`` returns a form of the network that leaves it alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmattn.layers.folding import Affine, affine_of, concatenate, fold_after, fold_before
from mmattn.layers.fuse import fuse


def worn(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """``norm`` as after training, in float64."""
    torch.manual_seed(1)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        if norm.affine:
            norm.weight.normal_()
            norm.bias.normal_()
    return norm.double().eval()


@pytest.mark.parametrize("affine", [True, False])
def test_a_norm_is_an_affine_map(affine: bool) -> None:
    norm = worn(nn.BatchNorm2d(5, affine=affine))
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    scale, shift = (v[:, None, None] for v in affine_of(norm))
    torch.testing.assert_close(scale * x + shift, norm(x))


def test_only_running_statistics_can_be_folded() -> None:
    for norm in (nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4)):
        with pytest.raises(ValueError, match="only a batch norm with running statistics"):
            affine_of(norm)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
def test_norm_after_any_convolution(bias: bool, groups: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 3, 2, padding=2, dilation=2, groups=groups, bias=bias).double()
    norm, x = worn(nn.BatchNorm2d(8)), torch.randn(2, 4, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(fold_after(conv, affine_of(norm))(x), norm(conv(x)))
    assert (conv.bias is None) == (not bias), "the convolution itself stays"


@pytest.mark.parametrize("bias", [True, False])
def test_norm_before_a_pointwise_convolution(bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, 1, stride=2, bias=bias).double()
    norm, x = worn(nn.BatchNorm2d(4)), torch.randn(2, 4, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(fold_before(affine_of(norm), conv)(x), conv(norm(x)))


@pytest.mark.parametrize(
    "conv",
    [nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1, padding=1), nn.Conv2d(4, 4, 1, groups=4)],
    ids=["3x3", "padded", "grouped"],
)
def test_norm_before_another_convolution_is_refused(conv: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="only into a 1x1 convolution"):
        fold_before(Affine(torch.ones(4), torch.ones(4)), conv)


def test_folded_numbers_keep_the_dtype_and_are_rounded_once() -> None:
    conv = nn.Conv2d(4, 8, 1).half()
    scale = torch.full((8,), 1 / 3, dtype=torch.float64)
    folded = fold_after(conv, Affine(scale, torch.zeros(8, dtype=torch.float64)))
    assert folded.weight.dtype == folded.bias.dtype == torch.float16
    assert torch.equal(folded.weight, (conv.weight.double() / 3).half())


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_of_one_input_are_one(bias: bool) -> None:
    torch.manual_seed(0)
    convs = [nn.Conv2d(4, n, 3, 2, padding=1, bias=bias).double() for n in (8, 3, 1)]
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    merged = concatenate(convs)
    assert merged.out_channels == 12
    torch.testing.assert_close(merged(x), torch.cat([conv(x) for conv in convs], 1))


@pytest.mark.parametrize(
    "other", [nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 3, stride=2), nn.Conv2d(2, 8, 3)]
)
def test_convolutions_that_differ_are_not_one(other: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="one convolution cannot do what these do"):
        concatenate([nn.Conv2d(4, 8, 3), other])
    with pytest.raises(ValueError, match="must have no groups"):
        concatenate([nn.Conv2d(4, 8, 3, groups=2)] * 2)


class Pair(nn.Module):
    """A convolution and its norm, which know that they can be one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))

    def fused(self) -> nn.Module:
        return fold_after(self.conv, affine_of(self.norm))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(Pair(), nn.ModuleDict({"inner": Pair()})["inner"], nn.BatchNorm2d(3))
    net(torch.randn(4, 3, 5, 5))
    return net


def test_fuse_copies_and_leaves_the_network_as_it_was() -> None:
    net = network()
    form = fuse(net)
    assert net.training
    assert isinstance(net[0], Pair)
    assert all(p.requires_grad for p in net.parameters())
    assert [type(m) for m in form] == [nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]
    assert not form.training
    assert not any(p.requires_grad for p in form.parameters())
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(form(x), net.eval()(x))


def test_a_network_without_such_parts_is_returned_itself() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    assert fuse(net) is net


def test_what_carries_a_hook_keeps_its_place() -> None:
    net = network().eval()
    net[0].norm.register_forward_hook(lambda module, args, output: output + 1)
    form = fuse(net)
    assert [type(m) for m in form] == [Pair, nn.Conv2d, nn.BatchNorm2d]
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(form(x), net(x))


class PairInPlace(Pair):
    """The same, which changes itself."""

    def fused(self) -> nn.Module:
        self.conv, self.norm = super().fused(), nn.Identity()
        return self


@pytest.mark.parametrize("kind", [Pair, PairInPlace])
def test_a_module_with_two_names_has_one_form(kind) -> None:
    torch.manual_seed(0)
    twice = nn.Sequential(kind(), nn.ReLU())
    net = nn.ModuleDict({"a": twice, "b": twice, "c": nn.Sequential(twice[0])})
    twice(torch.randn(4, 3, 5, 5))
    form, x = fuse(net), torch.randn(2, 3, 5, 5)
    assert form["a"] is form["b"] and form["a"][0] is form["c"][0]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in form.modules())
    torch.testing.assert_close(form["a"](x), net.eval()["a"](x))


@pytest.mark.parametrize("name", ["spectral_norm", "weight_norm"])
def test_what_is_parametrised_keeps_its_place(name: str) -> None:
    net = network().eval()
    getattr(nn.utils.parametrizations, name)(net[0].conv)
    form, x = fuse(net), torch.randn(2, 3, 5, 5)
    assert [type(m) for m in form] == [Pair, nn.Conv2d, nn.BatchNorm2d]
    torch.testing.assert_close(form(x), net.eval()(x))


def test_norms_of_the_batch_keep_their_place() -> None:
    net = network().eval()
    net[0].norm = nn.BatchNorm2d(3, track_running_stats=False)
    form, x = fuse(net), torch.randn(2, 3, 5, 5)
    assert [type(m) for m in form] == [Pair, nn.Conv2d, nn.BatchNorm2d]
    torch.testing.assert_close(form(x), net.eval()(x))


def test_a_flag_of_that_name_is_not_the_method() -> None:
    net = network().eval()
    net[2].fused = False
    assert [type(m) for m in fuse(net)] == [nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]
    alone = nn.Sequential(net[2])
    assert fuse(alone) is alone


def test_a_network_whose_train_returns_nothing() -> None:
    """As mmdet's distillation detectors: their ``train()`` forgets to return the network."""

    class Forgetful(Pair):
        def train(self, mode: bool = True) -> None:
            super().train(mode)

    net = Forgetful()
    net.eval()
    form, x = fuse(net), torch.randn(2, 3, 5, 5)
    assert type(form) is nn.Conv2d and not form.training
    torch.testing.assert_close(form(x), net(x))
