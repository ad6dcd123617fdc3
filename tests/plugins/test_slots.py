"""Promise: what ``mmattn slots`` lists can be built, the rest cannot, and its costs are true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmattn.cli.main import main
from mmattn.config import load_config
from mmattn.errors import ConfigError
from mmattn.inference.slots import PartSlots, list_slots
from mmattn.plugins.slots import Slot, find_slots
from mmattn.registry import MODELS
from tests.support.comparison_configs import MASK2FORMER, RETINANET

RESNET = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8}
SWIN = {
    "type": "mmdet.SwinTransformer",
    "embed_dims": 8,
    "depths": (1, 2, 1, 1),
    "num_heads": (1, 1, 2, 2),
    "window_size": 4,
}
FPN = {"type": "mmdet.FPN", "in_channels": [8, 16, 32], "out_channels": 8, "num_outs": 4}


def where(slots: list[Slot]) -> list[dict]:
    return [dict(slot.where) for slot in slots]


def build(cfg: dict) -> nn.Module:
    network = MODELS.build(cfg)
    network.eval()  # of mmdet's ResNet it returns None
    return network


EXAMPLES = {
    "resnet": (RESNET, torch.zeros(1, 3, 64, 96)),
    "swin": (SWIN, torch.zeros(1, 3, 64, 96)),
    "fpn": (FPN, [torch.zeros(1, c, 32 // s, 48 // s) for c, s in ((8, 1), (16, 2), (32, 4))]),
    "head": (
        {"type": "mmdet.RetinaHead", "in_channels": 8, "num_classes": 2, "feat_channels": 8},
        [torch.zeros(1, 8, 16, 24), torch.zeros(1, 8, 8, 12)],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_listed_can_be_built_and_the_rest_cannot(name: str) -> None:
    cfg, example = EXAMPLES[name]
    found = find_slots(build(cfg), example, image=(64, 96))
    block = {"type": "mmattn.SimAM", "init": "identity"}
    entries = [{"cfg": block, **slot.where} for slot in found.slots if "position" not in slot.where]
    assert entries
    network = MODELS.build({"type": "mmattn.WithPlugins", "inner": cfg, "plugins": entries})
    assert len(network.plugins) == sum(
        len(slot.names) for slot in found.slots if "position" not in slot.where
    )
    for names in found.refused.values():
        for at in names[:1]:
            with pytest.raises(ConfigError):
                MODELS.build(
                    {
                        "type": "mmattn.WithPlugins",
                        "inner": cfg,
                        "plugins": [{"cfg": block, "at": at}],
                    }
                )


def test_sizes_and_strides_are_those_of_the_input() -> None:
    found = find_slots(build(RESNET), torch.zeros(1, 3, 96, 160), image=(96, 160))
    slots = {str(slot.where.get("at")): slot for slot in found.slots}
    assert slots["layer3.*.conv2"].sizes == ((6, 10),)
    assert (slots["layer3.*.conv2"].channels, slots["layer3.*.conv2"].stride) == (32, 16)
    assert slots["layer3.*.conv2"].names == ("layer3.0.conv2", "layer3.1.conv2")
    positions = [slot for slot in found.slots if slot.where.get("position") == "after_conv2"]
    assert [slot.channels for slot in positions] == [8, 16, 32, 64]
    assert all(slot.last and len(slot.names) == 2 for slot in positions)
    assert positions[2].where["stages"] == (False, False, True, False)
    assert [slot.stride for slot in found.slots if slot.where.get("stages") == (3,)] == [32]
    first = [slot for slot in found.slots if slot.where.get("position") == "after_conv1"]
    assert not any(slot.last for slot in first)


def test_tokens_have_the_size_of_their_grid() -> None:
    found = find_slots(build(SWIN), torch.zeros(1, 3, 64, 96), image=(64, 96))
    (slot,) = (s for s in found.slots if s.where.get("at") == "stages.1.blocks.*")
    assert (slot.sizes, slot.channels, slot.stride) == (((8, 12),), 16, 8)
    assert "windows or regions of the image" in found.refused


def test_groups_are_patterns_of_their_members_alone() -> None:
    class Stage(nn.Module):
        """Convolutions of which the first is wider than the others, and one is not called."""

        def __init__(self, count: int):
            super().__init__()
            self.convs = nn.ModuleList(
                [nn.Conv2d(3, 8, 1), *(nn.Conv2d(8, 8, 1) for _ in range(count))]
            )
            self.last = nn.Conv2d(8, 4, 1, stride=2)

        def forward(self, x: Tensor) -> Tensor:
            for number, conv in enumerate(self.convs):
                x = conv(x) if number != 1 else x
            return self.last(x)

    found = find_slots(Stage(4), torch.zeros(1, 3, 8, 8))
    assert where(found.slots) == [
        {"at": ["convs.0", "convs.2", "convs.3", "convs.4"]},
        {"at": "last"},
        {"stages": (0,)},
    ]
    assert found.refused == {"never calls it": ["convs", "convs.1"]}
    assert found.slots[0].stride is None
    layers = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 8, 1), nn.Conv2d(8, 8, 1))
    found = find_slots(layers, torch.zeros(1, 3, 8, 8))
    assert where(found.slots) == [{"at": "0"}, {"at": "[1-2]"}, {"stages": (0,)}]


def part_of(config: str, name: str, **kwargs) -> PartSlots:
    (part,) = list_slots(load_config(config), part=name, **kwargs)
    return part


def test_costs_of_a_detector_by_hand() -> None:
    block = {"type": "mmattn.SE", "hidden_channels": 2}
    neck = part_of(RETINANET, "neck", size=(64, 96), block=block)
    at = where(neck.found.slots).index({"stages": (0,)})
    c = neck.found.slots[at].channels
    # Two linear layers of one vector: 2 C weights each, and their biases.
    assert neck.costs[at].parameters == 4 * c + 2 + c
    assert neck.costs[at].flops == 2 * 4 * c
    head = part_of(RETINANET, "bbox_head", size=(64, 96), block=block)
    at = where(head.found.slots).index({"at": "bbox_head.cls_convs.0"})
    levels = len(head.found.slots[at].sizes)
    assert levels == 5
    assert head.costs[at].flops == 5 * 2 * 4 * c, "the block acts at every level"
    assert head.costs[at].parameters == 4 * c + 2 + c, "with the same weights"


def test_mask2formers_pixel_decoder_is_a_place() -> None:
    block = {"type": "mmattn.AreaAttention"}
    head = part_of(MASK2FORMER, "decode_head", size=(64, 64), block=block)
    assert any("pixel_decoder.output_convs" in str(slot.where) for slot in head.found.slots)
    narrow = [cost for cost in head.costs if isinstance(cost, str)]
    assert narrow and "AreaAttention() cannot be built for the" in narrow[0]


def test_the_command_prints_and_writes_it(tmp_path: Path, capsys) -> None:
    file = tmp_path / "slots.json"
    words = [
        "slots",
        RETINANET,
        "--size",
        "64",
        "96",
        "--block",
        "CBAM(reduction=4)",
        "--json",
        str(file),
    ]
    assert main([*words, "--part", "backbone"]) == 0
    text = capsys.readouterr().out
    assert (
        "CBAM(reduction=4), in its paper: every residual block of a ResNet, after the last conv"
        in text
    )
    line = next(line for line in text.splitlines() if "'after_conv2'" in line)
    assert "(before the addition, as in the paper)" in line
    assert "neck" not in text
    content = json.loads(file.read_text())
    assert [part["part"] for part in content["parts"]] == ["backbone"]
    assert content["parts"][0]["costs"][0]["parameters"] > 0
    places = [slot["where"].get("at") for slot in content["parts"][0]["found"]["slots"]]
    assert "backbone.layer3" in places, "as mmattn compare --at takes it"
    assert "at='backbone.layer3'" in text
    assert main([*words, "--part", "nek"]) == 2
    assert "no part 'nek'. Did you mean 'neck'?" in capsys.readouterr().err
    assert main(["slots", RETINANET, "--size", "0", "5"]) == 2
    assert main(["slots", RETINANET, "--block", "CBMA"]) == 2
    assert "Did you mean 'CBAM'" in capsys.readouterr().err


def test_a_place_with_its_part_in_front_can_be_built() -> None:
    """As it is printed; another part than the one it is in is refused before the build."""
    from mmattn.preflight.structure import structure_problems

    entry = {"cfg": {"type": "mmattn.SE"}, "at": "backbone.layer3"}
    network = MODELS.build({"type": "mmattn.WithPlugins", "inner": RESNET, "plugins": [entry]})
    assert len(network.plugins) == 1
    model = {"backbone": {"type": "ResNet"}, "neck": {"type": "mmattn.WithPlugins"}}
    model["neck"]["plugins"] = [entry]
    (problem,) = [p for p in structure_problems({"model": model}, []) if "plugins" in p]
    assert problem.startswith("model.neck.plugins.0.at='backbone.layer3' is a place in model.back")
