"""Promise: what was loaded is said, and weights that match nothing are an error."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from mmattn.errors import CheckpointError
from mmattn.io import load_state_dict


class Net(nn.Module):
    def __init__(self, classes: int = 3):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, classes)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {key: torch.rand_like(value.float()) for key, value in Net().state_dict().items()}


def test_complete_load(net: Net, weights: dict, caplog) -> None:
    with caplog.at_level(logging.INFO):
        report = load_state_dict(net, weights, strict=True, source="net.pth")
    assert report.complete
    assert (report.matched, report.total) == (8, 8)
    assert caplog.messages == ["net.pth: matched 8/8 weights"]
    assert torch.equal(net.head.weight, weights["head.weight"])


def test_partial_load_is_one_line_of_groups(weights: dict, caplog) -> None:
    net = Net(classes=5)
    del weights["backbone.1.weight"], weights["backbone.1.running_mean"]
    weights |= {f"decode_head.layer{i}.weight": torch.ones(1) for i in range(2000)}
    report = load_state_dict(net, weights, source="net.pth")
    assert (report.matched, report.total) == (4, 8)
    assert report.missing == ("backbone.1.weight", "backbone.1.running_mean")
    assert len(report.unexpected) == 2000
    assert report.mismatched == {"head.weight": ((3, 2), (5, 2)), "head.bias": ((3,), (5,))}
    (line,) = caplog.messages
    assert line == (
        "net.pth: matched 4/8 weights; missing: backbone.1.weight, backbone.1.running_mean; "
        "unexpected: decode_head.* (2000); "
        "other shape: head.weight (3, 2) for (5, 2), head.bias (3,) for (5,)"
    )
    assert torch.equal(net.backbone[0].weight, weights["backbone.0.weight"])


def test_strict_refuses_a_partial_match(net: Net, weights: dict) -> None:
    with pytest.raises(CheckpointError, match=r"net\.pth: .*strictly.*unexpected: extra"):
        load_state_dict(net, weights | {"extra": torch.ones(1)}, strict=True, source="net.pth")


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.", "segmentor."])
def test_nothing_matches_names_the_prefix(net: Net, weights: dict, prefix: str) -> None:
    prefixed = {prefix + key: value for key, value in weights.items()}
    with pytest.raises(CheckpointError) as raised:
        load_state_dict(net, prefixed, source="net.pth")
    text = str(raised.value)
    assert text.startswith("net.pth: ")
    assert f"'{prefix}backbone.0.weight'" in text, "an example of theirs"
    assert "'head.weight'" in text or "'backbone.0.weight'" in text, "an example of ours"
    assert f"Without the prefix '{prefix}', 8 of 8 would match" in text


def test_nothing_matches_for_want_of_a_prefix(net: Net, weights: dict) -> None:
    bare = {k.removeprefix("backbone."): v for k, v in weights.items() if k[0] == "b"}
    with pytest.raises(CheckpointError, match=r"With the prefix 'backbone\.' .* 6 of 8"):
        load_state_dict(net, bare)


def test_whole_checkpoint_instead_of_its_weights(net: Net, weights: dict) -> None:
    with pytest.raises(CheckpointError, match="one level deeper, under 'state_dict'"):
        load_state_dict(net, {"state_dict": weights, "meta": {}})


def test_foreign_empty_and_misshapen_weights(net: Net, weights: dict) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    for state, cause in (
        ({"layer1.weight": torch.ones(2)}, "none of its 1 entries"),
        ({}, "holds no weights"),
        ({key: torch.ones(7, 7) for key in weights}, r"no weight fits.*\(7, 7\) for"),
    ):
        with pytest.raises(CheckpointError, match=cause):
            load_state_dict(net, state)
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])


def test_wrappers_do_not_count_as_a_prefix(net: Net, weights: dict) -> None:
    report = load_state_dict(nn.DataParallel(net), weights, strict=True)
    assert report.matched == 8


def test_modules_that_rename_old_keys_still_do() -> None:
    class Renamed(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            if f"{prefix}kernel" in state_dict:
                state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}kernel")
            super()._load_from_state_dict(state_dict, prefix, *args)

    model = nn.Sequential(Renamed(2, 2))
    report = load_state_dict(model, {"0.kernel": torch.ones(2, 2), "0.bias": torch.ones(2)})
    assert report.complete
    assert torch.equal(model[0].weight, torch.ones(2, 2))


def test_agrees_with_torch_on_what_is_missing(weights: dict) -> None:
    del weights["head.bias"], weights["backbone.0.bias"]
    weights["extra.thing"] = torch.ones(1)
    ours, theirs = Net(), Net()
    report = load_state_dict(ours, weights)
    expected = theirs.load_state_dict(weights, strict=False)
    assert list(report.missing) == expected.missing_keys
    assert list(report.unexpected) == expected.unexpected_keys
    for key in set(weights) & set(ours.state_dict()):
        assert torch.equal(ours.state_dict()[key], theirs.state_dict()[key])
