"""Wider hosts: which setting is raised and how far, and what depends on it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mmattn.compare.width import Widening, WidthSearch, plan_widths

HEAD = {"type": "Head", "channels": 32, "in_channels": [48, 48], "num_classes": 11}
MODEL = {
    "type": "EncoderDecoder",
    "backbone": {"type": "ResNet", "base_channels": 16},
    "neck": {"type": "FPN", "in_channels": [16, 32], "out_channels": 48},
    "decode_head": HEAD,
}


def count(model: Mapping) -> int:
    """A made-up network: products of the channels that its parts have."""
    base = model["backbone"]["base_channels"]
    neck = model["neck"]
    assert neck["in_channels"] == [base, 2 * base], "the neck takes what the backbone returns"
    assert model["decode_head"]["in_channels"] == [neck["out_channels"]] * 2
    inner = sum(neck["in_channels"]) * neck["out_channels"] + 2 * neck["out_channels"] ** 2
    return base * 100 + inner + 96 * model["decode_head"]["channels"]


def channels(model: Mapping, part: str) -> tuple[int, ...]:
    assert part == "backbone"
    base = model["backbone"]["base_channels"]
    return base, 2 * base


def search(model: Mapping = MODEL, counted=count) -> WidthSearch:
    return WidthSearch(model, counted, channels)


@pytest.mark.parametrize("added", [1, 96, 97, 1000, 10_000, 40_000])
def test_the_narrowest_that_is_wide_enough(added: int) -> None:
    """Against trying every value of every setting."""
    found = search().find(added)
    every = []
    for value in range(33, 33 + 1000):
        every.append(96 * (value - 32))
    for value in range(49, 49 + 600):
        model = Widening("neck.out_channels", value, 48, 0, ((48, value),)).apply(MODEL)
        every.append(count(model) - count(MODEL))
    for value in range(17, 17 + 600):
        maps = ((16, value), (32, 2 * value))
        model = Widening("backbone.base_channels", value, 16, 0, maps).apply(MODEL)
        every.append(count(model) - count(MODEL))
    assert found is not None
    assert found.adds == min(n for n in every if n >= added)
    assert count(found.apply(MODEL)) - count(MODEL) == found.adds


def test_a_pretrained_backbone_keeps_its_width() -> None:
    start = {"type": "Pretrained", "checkpoint": "torchvision://resnet18"}
    model = {**MODEL, "backbone": {**MODEL["backbone"], "init_cfg": start}}
    assert [name for name, _ in search(model).settings] == ["neck.out_channels",
                                                            "decode_head.channels"]  # fmt: skip
    assert "backbone.base_channels" in dict(search().settings)


def test_values_that_cannot_be_built_are_passed_over() -> None:
    """Groups of eight: only multiples of them."""

    def counted(model: Mapping) -> int | None:
        return None if model["decode_head"]["channels"] % 8 else count(model)

    model = {key: MODEL[key] for key in ("type", "backbone", "neck", "decode_head")}
    others = ("neck.out_channels", "backbone.base_channels")
    found = WidthSearch(model, counted, channels).find(1, refused=others)
    assert (found.setting, found.value, found.adds) == ("decode_head.channels", 40, 8 * 96)


def test_a_model_that_states_no_width_has_no_wider_host() -> None:
    model = {"backbone": {"type": "X"}, "decode_head": {"type": "Y"}}
    assert WidthSearch(model, lambda _: 5, channels).find(10) is None
    assert search().find(10, refused=[name for name, _ in search().settings]) is None


def test_the_model_is_left_as_it_is() -> None:
    before = repr(MODEL)
    wider = search().find(500).apply(MODEL)
    assert repr(MODEL) == before != repr(wider)


def test_a_detectors_heads_take_the_wider_neck() -> None:
    model = {
        "neck": {"out_channels": 64},
        "rpn_head": {"in_channels": 64, "feat_channels": 64},
        "roi_head": {
            "bbox_roi_extractor": {"out_channels": 64, "featmap_strides": [4]},
            "bbox_head": {"in_channels": 64, "fc_out_channels": 64},
        },
    }
    wider = Widening("neck.out_channels", 72, 64, 0, ((64, 72),)).apply(model)
    assert wider["rpn_head"] == {"in_channels": 72, "feat_channels": 64}
    assert wider["roi_head"]["bbox_roi_extractor"]["out_channels"] == 72
    assert wider["roi_head"]["bbox_head"] == {"in_channels": 72, "fc_out_channels": 64}


def test_few_hosts_cover_all_blocks() -> None:
    """One host for blocks of similar size; the smallest step for those below it."""

    def find(added: int) -> Widening:
        steps = -(-added // 100)
        return Widening("decode_head.channels", 32 + steps, 32, 100 * steps)

    added = {"ECA": 3, "SE": 1254, "CBAM": 1354, "CoordAtt": 2520, "CrissCross": 11641}
    hosts, chosen = plan_widths(added, find)
    assert {label: host.adds for label, host in chosen.items()} == {
        "CrissCross": 11700, "CoordAtt": 2600, "CBAM": 2600, "SE": 1300, "ECA": 100,
    }  # fmt: skip
    assert len(hosts) == 4
    kept, again = plan_widths({"ELA": 2000}, find, hosts)
    assert kept == hosts and again["ELA"].adds == 2600, "a host of an earlier start is taken"


def test_a_host_comes_back_from_its_file() -> None:
    host = Widening("backbone.base_channels", 20, 16, 12, ((16, 20), (32, 40)))
    assert Widening.from_json({**host.to_json(), "maps": [[16, 20], [32, 40]]}) == host
