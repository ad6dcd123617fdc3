"""What heads give to a target, receptive fields, and what Dynamic Head scales levels by."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.models.necks.dyhead import DyHeadBlock
from mmengine.config import Config
from torch import nn

from mmattn.errors import ConfigError
from mmattn.explain import Network, Options, explain_images
from mmattn.explain.attention.heads import scaled_heads, without_head
from mmattn.explain.attention.inputs import recorded_calls
from mmattn.explain.explanation import Explanation
from mmattn.explain.gates import read_gates
from mmattn.explain.methods import explain
from mmattn.explain.pairs import _same_box
from mmattn.explain.receptive_field import _field, middle_of, smallest_square
from mmattn.explain.result import Result
from mmattn.explain.summary import _field_table, _head_table
from mmattn.explain.targets import choose_target, parse_target
from mmattn.projects.dynamic_head import DynamicHeadBlock
from tests.support.scenes import draw_scene
from tests.support.small_detectors import as_if_trained, detector_config
from tests.support.small_transformers import segformer


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("images") / "scene.png"
    cv2.imwrite(str(file), draw_scene((64, 64), 0).image)
    return file


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(segformer(), None, "cpu")


def test_heads_of_all_layers_one_by_one(network: Network, image: Path) -> None:
    sample = network.prepare(image)
    target = choose_target(parse_target([], network.classes), network,
                           network.outputs_of(sample), sample)  # fmt: skip
    projection = network.model.backbone.layers[1][1][0].attn.attn.out_proj
    kept = projection.weight.detach().clone()
    with torch.no_grad():
        projection.weight[:, :8] = 0  # the first of two heads
    left_out, taylor = explain(network, sample, target, "heads")
    with torch.no_grad():
        projection.weight.copy_(kept)
    assert [count for _, count in taylor.parts] == [2, 2, 2] and left_out.parts == taylor.parts
    for found in (left_out, taylor):
        assert found.channels is not None and found.channels.shape == (6,)
        assert found.channels[0] == pytest.approx(0, abs=1e-6)
        assert (np.abs(found.channels[1:]) > 1e-6).all()
    assert "head" in taylor.notes[0] and len(taylor.notes) == 3
    # Layers in between are not linear, but a head is small beside what it is added to.
    assert np.corrcoef(left_out.channels, taylor.channels)[0, 1] > 0.9


def test_many_heads_are_estimated_and_not_left_out(
    network: Network, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmattn.explain.head_importance.MOST_RUNS", 5)
    sample = network.prepare(image)
    target = choose_target(parse_target([], network.classes), network,
                           network.outputs_of(sample), sample)  # fmt: skip
    (taylor,) = explain(network, sample, target, "heads")
    assert taylor.name == "Taylor" and "6 heads are too many" in taylor.notes[-1]
    two, _ = explain(network, sample, target, "heads", "backbone.layers.1.*")
    assert two.name.startswith("leave-one-out") and two.parts[0][1] == 2 and len(two.parts) == 1


def test_a_head_is_left_out_of_one_call_of_a_shared_layer() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    found = {}
    for call in (0, 1, 2):
        with torch.no_grad(), scaled_heads(layer, without_head(2, 1), call):
            found[call] = [layer(x, x, x)[0] for _ in range(2)]
    for call in (1, 2):
        changed = [not torch.allclose(a, b) for a, b in zip(found[0], found[call], strict=True)]
        assert changed == [call == 1, call == 2]


def test_heads_are_ranked_by_the_mean_size_of_their_estimate() -> None:
    """Signs of two images cancel in the mean of what is left out, not in the size."""
    results = []
    for sign in (1.0, -1.0):
        kinds = [("leave-one-out, loss of y", [0.5 * sign, 0.1]), ("Taylor", [3 * sign, 0.2])]
        found = [
            Explanation("heads", name, "a", channels=np.array(values), parts=(("a", 2),))
            for name, values in kinds
        ]
        results.append(Result("net", None, None, found))  # type: ignore[arg-type]
    table = _head_table(results, "")
    assert table is not None
    assert [[str(cell) for cell in row] for row in table.rows] == [
        ["a", "0", "2", "0", "3"],
        ["a", "1", "2", "0.1", "0.2"],
    ]
    assert _head_table(results[:1], "") is None


def test_a_stack_of_convolutions_has_the_published_field() -> None:
    """Five 3 x 3 convolutions of ones: the fivefold convolution of (1, 1, 1) / 3."""
    convolutions = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(5)])
    for parameter in convolutions.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 1, 21, 25, requires_grad=True)
    convolutions(x)[0, 0, 10, 12].backward()
    assert x.grad is not None
    field = x.grad[0, 0].abs().double().numpy()
    centre = middle_of((10, 12), (21, 25), (21, 25))
    assert centre == (10, 12)
    for share, side in ((0.336686481, 3), (0.684194483, 5), (1.0, 11)):
        found, area = smallest_square(field, centre, share - 1e-9)
        assert found == side and area == pytest.approx(side**2 / (21 * 25))
        if share < 1:
            assert smallest_square(field, centre, share + 1e-9)[0] == side + 2
    assert middle_of((1, 0), (2, 4), (8, 8)) == (5.5, 0.5)


def test_colours_add_up_and_images_are_averaged() -> None:
    x = torch.ones(1, 3, 2, 2, requires_grad=True)
    signs = torch.tensor([1.0, -2.0, 1.0])[:, None, None]
    np.testing.assert_array_equal(_field((x[0] * signs).sum(), x), np.full((2, 2), 4.0))
    fields = np.zeros((2, 3, 3))
    fields[0, 1, 1] = fields[1, 0, 0] = 1  # all in the middle, all in a corner
    results = [
        Result("net", None, None, [  # type: ignore[arg-type]
            Explanation("receptive-field", "a", "a", one, position=(1, 1), position_grid=(3, 3))
        ])
        for one in fields
    ]  # fmt: skip
    table = _field_table(results, "")
    assert table is not None
    ((place, size, images, *areas, few),) = table.rows
    assert (place, size, images, few) == ("a", "3 x 3", 2, "fewer than 50 images")
    assert areas == ["0.111", "0.111", "0.111", "1"], "half of the mean is in the middle"


def test_the_field_of_a_layer_lies_where_it_reads(
    network: Network, image: Path, tmp_path: Path
) -> None:
    """The first convolution of SegFormer, 7 x 7 with stride 4 and 3 pixels of padding."""
    second = tmp_path / "other.png"
    cv2.imwrite(str(second), draw_scene((64, 64), 1).image)
    lines: list[str] = []
    options = Options(methods=["receptive-field"], at="backbone.layers.0.0.projection")
    results = explain_images([network], [image, second], tmp_path / "out", options, lines.append)
    (found,) = results[0].explanations
    assert found.values is not None and found.values.shape == (64, 64)
    rows, columns = np.nonzero(found.values)
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (29, 35)
    # A square around the middle of the cell, which is 1.5 pixels beside that of the kernel.
    assert found.numbers["area_with_50%"] < found.numbers["area_with_99%"] <= 100 / 64**2
    options = Options(methods=["receptive-field"], at="backbone.layers.3.2")  # a LayerNorm
    with pytest.raises(ConfigError, match="does not depend on the image, as behind a norm"):
        explain_images([network], [image], tmp_path / "out", options, lines.append)
    assert any("fewer than 50 images" in line and "receptive field of" in line for line in lines)


@pytest.mark.parametrize("block", [DynamicHeadBlock(16, 16), DyHeadBlock(16, 16)])
def test_task_coefficients_are_those_that_the_block_applies(block: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    levels = [torch.randn(1, 16, n, n, generator=generator) for n in (8, 4)]
    with torch.no_grad(), recorded_calls({"block": block}) as calls:
        block(levels)
    gates = read_gates(calls[0])
    task: nn.Module = block.task_attn_module
    assert [n for n in gates if n.startswith("level 1")] == [
        f"level 1, {what}" for what in ("scales of own, finer", "mask", "length of offsets", "task")
    ]
    a1, b1, a2, b2 = gates["level 1, task"].float().chunk(4)
    inputs = []
    handle = task.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with torch.no_grad():
        getattr(block, "textbook", block.forward)(levels)
        expected = task(inputs[1])[0]
    handle.remove()
    x = inputs[1][0]
    torch.testing.assert_close(torch.maximum(x * a1 + b1, x * a2 + b2), expected)
    assert (a2 != 0).any() and (b1 != 0).any()


def test_the_default_shows_dynamic_head_at_the_level_of_the_detection(image: Path) -> None:
    cfg = Config(detector_config("ATSS", Path("none.json"), Path(".")))
    cfg.model.neck = [
        cfg.model.neck,
        {"type": "mmattn.DynamicHead", "in_channels": 16, "out_channels": 16, "num_blocks": 1},
    ]
    torch.manual_seed(0)
    network = Network(cfg, None, "cpu")
    as_if_trained(network.model)
    sample = network.prepare(image)
    outputs = network.outputs_of(sample)
    target = choose_target(parse_target([], network.classes), network, outputs, sample)
    found = explain(network, sample, target, "gates")
    (level,) = {one.name.split(",")[0] for one in found}
    (cam,) = explain(network, sample, target, "hires-cam", "neck.1.dyhead_blocks.0")
    assert cam.layer == f"neck.1.dyhead_blocks.0[{level[-1]}]" and len(found) == 4
    assert [name for name, _ in found[3].parts] == ["a1", "b1", "a2", "b2"]
    everywhere = explain(network, sample, target, "gates", "neck.1.dyhead_blocks.0")
    assert len(everywhere) == 12
    side = choose_target(parse_target(["side=left"], network.classes), network, outputs, sample)
    (left,) = explain(network, sample, side, "hires-cam")
    assert left.values is not None and np.abs(left.values).max() > 0
    minus = choose_target(parse_target(["side=-left"], network.classes), network, outputs, sample)
    (right,) = explain(network, sample, minus, "hires-cam")
    np.testing.assert_allclose(right.values, -left.values, atol=1e-9)
    same = _same_box(minus, sample, network, outputs, sample)
    assert same is not None and same.side == "-left", "the other network explains the same"
    with pytest.raises(ConfigError, match="no attention is known there"):
        explain(network, sample, target, "heads")
