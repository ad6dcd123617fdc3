"""Promise: every config of docs/plugins.md builds and runs, and its table of blocks is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmattn.config import load_config
from mmattn.data.shapes import write_shapes_dataset
from mmattn.inference import build_model
from mmattn.preflight import preflight
from tests.support import block_table, timm_attention_table
from tests.support.code_blocks import CodeBlock, read_code_blocks

GUIDE = Path(__file__).resolve().parents[2] / "docs/plugins.md"
BLOCKS = [block for block in read_code_blocks(GUIDE) if block.language == "python"]
CONFIGS = [block for block in BLOCKS if "model = " in block.code]

# Heading -> how many blocks of which class the network has.
EXPECTED = {
    "mmdet: ResNet-50": {"CBAM": 16},
    "ResNet-18 and ResNet-34": {"CBAM": 8},
    "mmseg: ResNet, two blocks at one place": {"ECA": 9, "CBAM": 9},
    "Any backbone: YOLOX": {"CBAM": 3},
    "Inside a network, by name": {"CBAM": 8},
    "On a neck": {"CBAM": 3},
    "timm": {"CBAM": 3},
    "A whole detector on generated images": {"CBAM": 8},
    "Kernels of ECA for each stage": {"ECA": 16},
}


def attention(model: nn.Module) -> list[nn.Module]:
    """The blocks of mmattn in ``model``, without their parts."""
    return [
        module
        for module in model.modules()
        if type(module).__module__.startswith("mmattn.projects.")
        and not type(module).__name__.startswith("_")
    ]


def snippet(heading: str, number: int = 0) -> CodeBlock:
    return [block for block in BLOCKS if block.heading == heading][number]


def load(block: CodeBlock, folder: Path) -> Config:
    file = folder / "config.py"
    file.write_text(block.code)
    return load_config(file)


def run_once(model: nn.Module) -> list[Tensor]:
    with torch.no_grad():
        return list(model.extract_feat(torch.randn(1, 3, 64, 96)))


def test_every_config_is_expected_here() -> None:
    assert {block.heading for block in CONFIGS} == set(EXPECTED)


@pytest.mark.parametrize("block", CONFIGS, ids=[block.heading for block in CONFIGS])
def test_config_builds_and_runs_with_its_blocks(block: CodeBlock, tmp_path: Path) -> None:
    model = build_model(load(block, tmp_path))
    counts: dict[str, int] = {}
    reached: set[int] = set()
    for module in attention(model):
        name = type(module).__name__
        counts[name] = counts.get(name, 0) + 1
        module.register_forward_hook(lambda module, *_: reached.add(id(module)))
    assert counts == EXPECTED[block.heading]
    assert all(y.isfinite().all() for y in run_once(model))
    assert reached == {id(module) for module in attention(model)}, "a block is never called"


def test_the_whole_detector_needs_nothing_but_the_shapes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_shapes_dataset("data/shapes", num_train=2, num_val=1, size=(64, 96))
    cfg = load(snippet("A whole detector on generated images"), tmp_path)
    assert [report.unit for report in preflight(cfg)] == ["instances", "instances"]
    assert {"model", "train_cfg", "optim_wrapper", "val_evaluator"} <= cfg.keys()


def test_kernels_of_eca_are_those_of_the_list(tmp_path: Path) -> None:
    backbone = load(snippet("Kernels of ECA for each stage"), tmp_path).model.backbone
    backbone.init_cfg = None
    network = MODELS.build({**backbone, "type": "mmdet.ResNet"})
    assert [network.get_submodule(f"layer{i}.0.eca").kernel_size for i in (1, 2, 3, 4)] == [
        *(3, 5, 5, 7)
    ]
    assert sum(p.numel() for m in attention(network) for p in m.parameters()) == 80


def test_pretrained_weights_arrive_and_blocks_start_anew(tmp_path: Path, monkeypatch) -> None:
    torch.manual_seed(0)
    plain = MODELS.build({"type": "mmdet.ResNet", "depth": 18})
    for value in plain.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 1)
    torch.save(plain.state_dict(), tmp_path / "resnet18.pth")
    monkeypatch.chdir(tmp_path)
    network = MODELS.build(load(snippet("Pretrained weights"), tmp_path).backbone)
    network.init_weights()
    state = network.state_dict()
    for name, value in plain.state_dict().items():
        assert torch.equal(state[name], value), name
    norms = [module.SpatialGate.spatial.bn.weight for module in attention(network)]
    assert len(norms) == 4
    assert not any(weight.any() for weight in norms)


def test_the_identity_form_is_the_pretrained_network(tmp_path: Path, monkeypatch) -> None:
    torch.manual_seed(0)
    plain = MODELS.build({"type": "mmdet.ResNet", "depth": 18})
    torch.save(plain.state_dict(), tmp_path / "resnet18.pth")
    monkeypatch.chdir(tmp_path)
    network = MODELS.build(load(snippet("Start as the identity"), tmp_path).backbone)
    network.init_weights()
    plain.eval()
    network.eval()
    assert len(attention(network)) == 8
    x = torch.randn(1, 3, 64, 96)
    for a, b in zip(network(x), plain(x), strict=True):
        assert torch.equal(a, b)


def test_freezing(tmp_path: Path) -> None:
    network = MODELS.build(load(snippet("Freezing"), tmp_path).backbone)
    network.train()
    *free, frozen = attention(network)
    assert len(free) == 3
    assert all(p.requires_grad for block in free for p in block.parameters())
    assert all(module.training for block in free for module in block.modules())
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(module.training for module in frozen.modules())
    outside = [p for name, p in network.named_parameters() if not name.startswith("plugins.")]
    assert not any(p.requires_grad for p in outside)


def test_learning_rates_of_the_blocks(tmp_path: Path) -> None:
    from mmengine.optim import build_optim_wrapper

    model = nn.Module()
    model.backbone = MODELS.build(load(snippet("Pretrained weights"), tmp_path).backbone)
    heading = "A learning rate of their own"
    wrapper = build_optim_wrapper(model, load(snippet(heading), tmp_path).optim_wrapper)
    rates = {id(p): group["lr"] for group in wrapper.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        rate = 0.1 if ".plugins." in name else 0.01
        assert rates[id(parameter)] == pytest.approx(rate), name


def test_the_table_is_up_to_date() -> None:
    text = GUIDE.read_text("utf-8")
    assert block_table.with_table(text) == text, f"run {block_table.COMMAND}"


def test_the_table_of_timm_is_up_to_date() -> None:
    text = GUIDE.read_text("utf-8")
    assert timm_attention_table.with_table(text) == text, f"run {timm_attention_table.COMMAND}"


def test_the_table_shows_what_the_blocks_are() -> None:
    """One row read by eye: SE has C + C // 16 biases, and gates of about 1/2."""
    row = next(line for line in block_table.table().splitlines() if "`SE`" in line)
    channels = 1024
    count = 2 * channels * (channels // 16) + channels // 16 + channels
    assert row.startswith("| [`SE`](../projects/blocks/squeeze_excitation.py) | One gate per ")
    assert row.endswith(f"/ {count:,} | 0.5 |")
    assert "[1709.01507](https://arxiv.org/abs/1709.01507)" in row


def test_every_block_exposes_its_attention_or_the_guide_names_it() -> None:
    text = GUIDE.read_text("utf-8")
    paragraph = text.partition("Every block has a method")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", paragraph.partition("have none:")[2]))
    blocks = block_table.blocks().items()
    assert named == {name for name, cls in blocks if not hasattr(cls, "attention_maps")}
