"""Promise: parameters, multiply-adds and outputs are those of the authors' block."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmattn.projects.dynamic_head import DynamicHead, DynamicHeadBlock
from tests.support.golden_weights import check_golden

# Mean, standard deviation, and the values at 0, N // 3, N // 2 and N - 1, of each level.
LAST = (0.146126, 0.213761, 0.04742, 0.32229, 0.13578, 0.71764)
GOLDEN = {
    "official": [
        (0.061482, 0.098707, 0.24766, 0.06686, 0.02892, 0.05360),
        (0.105886, 0.153499, 0.03770, 0.18281, 0.03118, 0.33916),
        LAST,
    ],
    "natural": [
        (0.054812, 0.088150, 0.22744, 0.07535, 0.05775, 0.03219),
        (0.105297, 0.154428, 0.03707, 0.19280, 0.03132, 0.39859),
        LAST,
    ],
}
LARGEST = {"official": (0.60447, 0.65302, 0.94690), "natural": (0.57321, 0.71498, 0.94690)}

DETECTORS = {
    "atss_r50_fpn_dyhead_1x_coco": 38_902_210,
    "atss_r50_fpn_dyhead-mmdet_1x_coco": 39_071_682,
}


@pytest.mark.parametrize("textbook", [False, True], ids=["fused", "textbook"])
@pytest.mark.parametrize("mode", GOLDEN)
def test_golden_outputs(golden_block, golden_levels, mode: str, textbook: bool) -> None:
    block = golden_block(mode)
    with torch.no_grad():
        outputs = (block.textbook if textbook else block)(golden_levels)
    for y, expected, largest in zip(outputs, GOLDEN[mode], LARGEST[mode], strict=True):
        check_golden(y, expected)
        assert y.abs().max().item() == pytest.approx(largest, abs=2e-5)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameters_of_a_block() -> None:
    assert count(DynamicHeadBlock(256, 256, bias=True)) == 1_917_276
    assert count(DynamicHead(256, 256, bias=True)) == 11_503_656
    assert count(DynamicHead(256, 256)) == 11_499_048


@pytest.mark.parametrize("name", DETECTORS)
def test_parameters_of_the_detectors(build, name: str) -> None:
    with torch.device("meta"):
        model = build(f"mmattn::dynamic_head/{name}.py")
    assert count(model) == DETECTORS[name]
    assert count(model.neck[0]) == 3_868_672


def test_parameters_with_mmdet_s_neck_and_1x1_predictions(build) -> None:
    name = "mmattn::dynamic_head/atss_r50_fpn_dyhead-mmdet_1x_coco.py"
    with torch.device("meta"):
        model = build(name, **{"bbox_head.pred_kernel_size": 1})
    assert count(model) == 38_897_602


def giga_multiply_adds(neck: nn.Module) -> float:
    sizes = [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
    levels = [torch.empty(1, 256, *size, device="meta") for size in sizes]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        neck(levels)
    return counter.get_total_flops() / 2e9


@pytest.mark.slow
def test_multiply_adds_at_800_x_1344() -> None:
    """Six blocks: 127.3 G, and 47 % more where the coarser level is upsampled first."""
    with torch.device("meta"):
        necks = {mode: DynamicHead(256, 256, high_mode=mode) for mode in (*GOLDEN, "resize")}
    assert f"{giga_multiply_adds(necks['official']):.1f}" == "127.3"
    assert f"{giga_multiply_adds(necks['resize']):.1f}" == "127.3"
    assert f"{giga_multiply_adds(necks['natural']):.1f}" == "186.5"
