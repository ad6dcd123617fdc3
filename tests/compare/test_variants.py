"""Words of a command line: blocks, places, budgets."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from mmattn.compare.budget import Budget, parse_budget
from mmattn.compare.places import (
    Place,
    candidate_places,
    parse_places,
    stage_patterns,
    with_block,
)
from mmattn.compare.plan import Comparison
from mmattn.compare.variants import (
    Variant,
    at_all_places,
    at_each_place,
    known_blocks,
    parse_variant,
    parse_variants,
)
from mmattn.config import load_config
from mmattn.errors import ConfigError
from tests.support.comparison_configs import FCN, RETINANET


@pytest.mark.parametrize(
    ("word", "block"),
    [
        ("SE", {"type": "mmattn.SE"}),
        ("mmattn.CBAM", {"type": "mmattn.CBAM"}),
        ("CrissCross", {"type": "mmattn.CrissCrossAttention"}),
        ("mmattn.CrissCross", {"type": "mmattn.CrissCrossAttention"}),
        ("ELA-T", {"type": "mmattn.ELA", "version": "T"}),
        ("ELA-S(residual=True)", {"type": "mmattn.ELA", "version": "S", "residual": True}),
        ("CBAM(reduction=8)", {"type": "mmattn.CBAM", "reduction": 8}),
        ("SE()", {"type": "mmattn.SE"}),
        ("ContextBlock(ratio=0.25)", {"type": "ContextBlock", "ratio": 0.25}),
        ("mmdet.DropBlock", {"type": "mmdet.DropBlock"}),
    ],
)
def test_a_word_is_found_in_the_registry(word: str, block: dict) -> None:
    assert parse_variant(word) == Variant(word, block)


def test_the_base_comes_first_named_or_not() -> None:
    for text in ("SE,none", "none,SE", "SE", " none , SE ,"):
        assert [variant.label for variant in parse_variants(text)] == ["none", "SE"]


def test_commas_in_arguments_do_not_divide() -> None:
    (_, se, eca) = parse_variants("SE(reduction=4, bias=False),ECA(kernel_size=5)")
    assert se.block == {"type": "mmattn.SE", "reduction": 4, "bias": False}
    assert eca.block == {"type": "mmattn.ECA", "kernel_size": 5}


def test_labels_become_file_names() -> None:
    assert parse_variant("CBAM(reduction=8)").slug == "CBAM_reduction_8"
    assert parse_variant("ELA-T").slug == "ELA-T"
    assert Variant("SE at backbone.layer3.*").slug == "SE_at_backbone.layer3.each"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "CBAN",
            r"no block of that name. Did you mean 'CBAM'\? Known names: none, .*TripletAttention",
        ),
        ("cbam", r"Did you mean 'CBAM'\?"),
        ("mmdet.NoSuchThing", r"'mmdet.NoSuchThing': there is no block"),
        ("E", r"the beginning of .*ECA.* and .*ELA.*; write more of the name"),
        ("WithPlugins", r"there is no block of that name"),
        ("ELA-T(version='B')", r"version is set by the name already"),
        ("ELA-X", r"has no version 'X'.* It has ELA-T, ELA-B, ELA-S, ELA-L"),
        ("SE-T", r"SE has no version 'T'. It has no named versions"),
        ("SE(4)", r"expected arguments with names and Python literals"),
        ("SE(reduction=width)", r"Python literals"),
        ("SE(reduction=", r"expected a block's name"),
        ("SE,se", r"Did you mean 'SE'"),
        ("SE,SE", r"'se' is given twice"),
        ("none", r"names no block to compare with"),
        ("S E", r"expected a block's name"),
    ],
)
def test_a_wrong_word_says_what_is_there(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_variants(text)


def test_known_blocks_are_blocks() -> None:
    known = known_blocks()
    assert {"CBAM", "CrissCrossAttention", "ECA", "ELA", "SE"} <= set(known)
    assert "WithPlugins" not in known
    assert "CCHead" not in known


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("300it", Budget(iterations=300)),
        ("1it", Budget(iterations=1)),
        ("90s", Budget(seconds=90)),
        ("5min", Budget(seconds=300)),
        ("1.5h", Budget(seconds=5400)),
        ("2 min", Budget(seconds=120)),
    ],
)
def test_a_budget_is_iterations_or_a_time(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["300", "5 minutes", "-3it", "0it", "0s", "1.5it", "soon", ""])
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--budget"):
        parse_budget(text)


def test_a_time_becomes_iterations_of_the_median_step() -> None:
    cold = [9.0, 8.0, 7.0]
    assert Budget(seconds=60).in_iterations([*cold, 0.5, 0.4, 0.5, 3.0]) == 120
    assert Budget(seconds=60).in_iterations([6.0]) == 10  # the only step was a cold one
    assert Budget(seconds=0.1).in_iterations([6.0]) == 1
    assert Budget(iterations=7).in_iterations([1.0]) == 7


def test_a_place_is_a_part_and_a_pattern() -> None:
    cfg = load_config(RETINANET)
    inside, neck = parse_places(["backbone.layer3.*.conv2", "neck"], cfg)
    assert (inside.part, inside.pattern, str(inside)) == (
        "backbone", "layer3.*.conv2", "backbone.layer3.*.conv2",
    )  # fmt: skip
    assert (neck.part, neck.pattern, neck.num_maps, str(neck)) == ("neck", None, 5, "neck")
    model = with_block(cfg.model, {"type": "mmattn.SE"}, [inside, neck])
    assert model["backbone"]["type"] == model["neck"]["type"] == "mmattn.WithPlugins"
    assert model["backbone"]["inner"] == cfg.model.backbone
    assert model["backbone"]["plugins"] == [
        {"cfg": {"type": "mmattn.SE"}, "at": "layer3.*.conv2"},
    ]
    assert model["neck"]["plugins"] == [{"cfg": {"type": "mmattn.SE"}, "stages": [0, 1, 2, 3, 4]}]
    assert with_block(cfg.model, None, [inside, neck]) == cfg.to_dict()["model"]
    assert cfg.model.backbone.type == "ResNet", "the base is left as it is"


def test_two_places_of_one_part_share_one_adapter() -> None:
    cfg = load_config(FCN)
    places = parse_places(["backbone.layer1", "backbone.layer3"], cfg)
    plugins = with_block(cfg.model, {"type": "mmattn.SE"}, places)["backbone"]["plugins"]
    assert [entry["at"] for entry in plugins] == ["layer1", "layer3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["backbon.layer3"], r"has no model.backbon. Did you mean 'backbone'\?"),
        (["neck"], r"has no model.neck. Write backbone"),
        (["decode_head"], r"a head returns predictions, not feature maps"),
        (["backbone.layer3", "backbone.layer3"], r"a place is given twice"),
        ([], r"name at least one place"),
    ],
)
def test_a_wrong_place_says_what_is_there(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_places(words, load_config(FCN))


def test_a_pattern_alone_is_of_the_one_part_that_has_it() -> None:
    said: list[str] = []
    cfg = load_config(RETINANET)
    assert parse_places(["layer3.*.conv2"], cfg, said.append) == parse_places(
        ["backbone.layer3.*.conv2"], cfg
    )
    assert said == ["--at layer3.*.conv2: backbone.layer3.*.conv2"]
    with pytest.raises(ConfigError, match=r"--at \*: backbone and neck have it; write"):
        parse_places(["*"], cfg)


def test_auto_is_each_stage_the_ends_of_its_blocks_and_the_neck() -> None:
    names = [str(place) for place in candidate_places(load_config(RETINANET))]
    stages = [f"backbone.layer{n}{end}" for n in (1, 2, 3, 4) for end in ("", ".*")]
    assert names == [*stages, "neck"]
    assert "backbone.layer3" in [str(place) for place in candidate_places(load_config(FCN))]


def test_places_of_networks_with_other_names_for_their_stages() -> None:
    """A list of stages, of which only what returns one feature map is a place."""

    class Stages(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.stages = nn.ModuleList(
                [nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 4, 1)]
            )

        def forward(self, x):
            x = self.stem(x)
            for stage in self.stages:
                x = stage(x)
            return (x,)

    assert stage_patterns(Stages()) == ["stages.0", "stages.0.*", "stages.1"]
    assert stage_patterns(nn.Sequential(nn.Conv2d(3, 4, 1))) == []


def test_places_that_do_not_suit_are_left_out_of_a_grid() -> None:
    block = Variant("SE at neck", {"type": "mmattn.SE"})
    comparison = Comparison(
        *("a.py", None, (Variant("none"), block), (), 2, "1it", Path("w")), grid=True
    )  # fmt: skip
    comparison.drop_left_out()
    assert len(comparison.variants) == 2
    comparison.left_out = {"SE at neck": "too narrow"}
    with pytest.raises(ConfigError, match="no block fits at any place: too narrow"):
        comparison.drop_left_out()


def test_a_grid_has_one_variant_for_each_place() -> None:
    variants = parse_variants("SE,ECA")
    places = (Place("backbone", "layer2"), Place("neck", None, 2))
    grid = at_each_place(variants, places)
    assert [variant.label for variant in grid] == [
        "none", "SE at backbone.layer2", "SE at neck", "ECA at backbone.layer2", "ECA at neck",
    ]  # fmt: skip
    assert [variant.places for variant in grid[1:3]] == [places[:1], places[1:]]
    model = {"backbone": {"type": "X"}, "neck": {"type": "Y"}}
    assert grid[2].model(model)["neck"]["plugins"] == [
        {"cfg": {"type": "mmattn.SE"}, "stages": [0, 1]}
    ]
    assert grid[2].model(model)["backbone"] == {"type": "X"}
    together = at_all_places(variants, places)
    assert [variant.label for variant in together] == ["none", "SE", "ECA"]
    assert together[1].places == places
