"""Promise: parameters, multiply-adds and outputs are those of the authors' networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmattn.projects.yolov12 import AreaAttention
from tests.support.golden_weights import check_golden, golden_image, golden_value

# The published counts include 16 constants, the bins of a distance, which are no weights here.
BINS = 16
PARAMETERS = {
    ("n", "turbo"): 2_553_904,
    ("s", "turbo"): 9_127_424,
    ("m", "turbo"): 19_670_784,
    ("l", "turbo"): 26_506_496,
    ("x", "turbo"): 59_414_176,
    ("n", "v1.0"): 2_602_288,
    ("s", "v1.0"): 9_284_096,
    ("m", "v1.0"): 20_199_168,
    ("l", "v1.0"): 26_450_784,
    ("x", "v1.0"): 59_210_784,
}
BACKBONES = {"n": 1_339_872, "s": 5_289_920, "m": 10_794_304, "l": 14_853_952, "x": 33_287_904}
ENTRIES = {("n", "turbo"): 739, ("l", "turbo"): 1341, ("n", "v1.0"): 691, ("l", "v1.0"): 1245}
# 10^9 FLOPs at 640 x 640, two for a multiply-add: of the convolutions, which is what the authors
# publish, to two digits; and of the products of attention, q k^T and A v, which they leave out.
FLOPS = {
    "n": ("5.99", "0.98"),
    "s": ("19.43", "1.97"),
    "m": ("59.80", "3.28"),
    "l": ("82.39", "6.55"),
    "x": ("184.59", "9.83"),
}
PUBLISHED_FLOPS = {
    ("n", "v1.0"): 6.5,
    ("s", "v1.0"): 21.4,
    ("m", "v1.0"): 67.5,
    ("l", "v1.0"): 88.9,
    ("x", "v1.0"): 199.0,
    ("n", "turbo"): 6.0,
    ("s", "turbo"): 19.4,
    ("m", "turbo"): 59.8,
    ("l", "turbo"): 82.4,
    ("x", "turbo"): 184.6,
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("scale", "version"), PARAMETERS)
def test_parameters(build_meta, scale: str, version: str) -> None:
    assert count(build_meta(scale, version)) + BINS == PARAMETERS[scale, version]


@pytest.mark.parametrize("scale", BACKBONES)
def test_parameters_of_the_backbone(build_meta, scale: str) -> None:
    assert count(build_meta(scale).backbone) == BACKBONES[scale]


@pytest.mark.parametrize(("scale", "version"), ENTRIES)
def test_entries_of_the_state_dict(build_meta, scale: str, version: str) -> None:
    """One fewer than the published files, which hold the bins."""
    assert len(build_meta(scale, version).state_dict()) + 1 == ENTRIES[scale, version]


def giga_flops(model: nn.Module) -> tuple[float, float]:
    """Of convolutions, and of all other products, which are those of attention."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 640, 640, device="meta"), mode="tensor")
    counts = counter.get_flop_counts()["Global"]
    convolutions = counts.pop(torch.ops.aten.convolution) / 1e9
    return convolutions, sum(counts.values()) / 1e9


@pytest.mark.parametrize("scale", FLOPS)
def test_flops_with_and_without_attention(build_meta, scale: str) -> None:
    convolutions, attention = giga_flops(build_meta(scale).eval())
    assert (f"{convolutions:.2f}", f"{attention:.2f}") == FLOPS[scale]


@pytest.mark.parametrize(("scale", "version"), PUBLISHED_FLOPS)
@pytest.mark.slow
def test_published_flops_are_those_of_convolutions(build_meta, scale: str, version: str) -> None:
    """To a tenth; the authors count the norms too, after fusing some."""
    convolutions, _ = giga_flops(build_meta(scale, version).eval())
    assert convolutions == pytest.approx(PUBLISHED_FLOPS[scale, version], abs=0.1)


# Made by the authors' blocks with golden weights, on sin(0.01 n) of 1x3x128x160.
GOLDEN = {
    "turbo": {
        "P3": (0.043820, 0.198574, -0.21547, -0.17712, 0.01677, -0.20570),
        "P4": (0.295890, 0.689068, -0.27485, -0.12073, 1.59273, -0.27845),
        "P5": (0.293094, 0.635384, -0.11409, 0.01915, -0.27827, -0.18010),
        "N3": (0.011780, 0.113815),
        "N4": (0.045643, 0.221682),
        "N5": (0.031564, 0.183233),
        "head3": (0.004614, 0.286181, -0.21813, -0.35460, 0.43558, -0.16512),
        "head4": (0.002080, 0.236747),
        "head5": (-0.005711, 0.273560),
    },
    "v1.0": {
        "P4": (0.255823, 0.624231, -0.27844, -0.02440, 1.84783, -0.27540),
        "P5": (0.415748, 0.792141, -0.16875, 0.08929, -0.27187, -0.15862),
    },
}


@pytest.fixture(scope="module")
def outputs(golden) -> dict[str, dict[str, Tensor]]:
    """Feature maps and raw predictions, box before classes, by version."""
    found: dict[str, dict[str, Tensor]] = {}
    for version, model in golden.items():
        with torch.no_grad():
            pyramid = model.backbone(golden_image(1, 3, 128, 160))
            mixed = model.neck(pyramid)
            cls_scores, box_logits = model.bbox_head(mixed)
        maps = {f"P{i}": x for i, x in enumerate(pyramid, 3)}
        maps |= {f"N{i}": x for i, x in enumerate(mixed, 3)}
        maps |= {
            f"head{i}": torch.cat(parts, 1)
            for i, parts in enumerate(zip(box_logits, cls_scores, strict=True), 3)
        }
        found[version] = maps
    return found


@pytest.mark.parametrize(
    ("version", "name"), [(version, name) for version, names in GOLDEN.items() for name in names]
)
def test_golden_values(outputs, version: str, name: str) -> None:
    check_golden(outputs[version][name], GOLDEN[version][name])


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("turbo", (-0.018819, 1.024619, -1.17777, 1.30912, -1.42417, -1.27904)),
        ("v1.0", (0.002578, 0.262310, -0.06582, 0.32658, -0.17280, -0.23654)),
    ],
)
def test_golden_values_of_a_single_attention(layout: str, expected: tuple) -> None:
    module = AreaAttention(64, areas=4, layout=layout, shortcut=False).eval()
    state = {
        key: value if key.endswith("num_batches_tracked") else golden_value(key, value.shape)
        for key, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    check_golden(module(golden_image(2, 64, 8, 12)), expected)
