"""Promise: parameters, multiply-adds and outputs are those of the authors' network."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmattn.projects.bevanet import BEVANetClassifier
from tests.support.golden_weights import check_golden

# Variant, width of the heads, classes; parameters to predict and to train with.
PARAMETERS = [
    ("", 128, 19, 58_599_296, 58_823_892),
    ("S", 128, 19, 15_090_784, 15_186_004),
    ("S", 128, 11, 15_089_752, 15_183_940),
    ("", 128, 150, 58_616_195, 58_857_690),
    ("SW", 128, 19, 57_418_624, None),
    ("L", 256, 19, 59_828_992, None),
]
# Variant, width, classes, size, 10^9 multiply-adds as published, with how many digits.
PRODUCTS = [
    ("", 128, 19, (1024, 2048), "237.18"),
    ("S", 128, 19, (1024, 2048), "59.94"),
    ("S", 128, 11, (720, 960), "19.90"),
    ("", 128, 150, (512, 512), "29.72"),
    ("", 128, 150, (640, 640), "46.43"),
    ("SW", 128, 19, (1024, 2048), "227.5"),
    ("L", 256, 19, (1024, 2048), "276.0"),
]


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def giga_products(call) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(("variant", "channels", "classes", "infer", "train"), PARAMETERS)
def test_parameters(build, variant, channels, classes, infer, train) -> None:
    with torch.device("meta"):
        assert count(build(variant, classes, channels=channels, training_heads=False)) == infer
        if train:
            assert count(build(variant, classes, channels=channels)) == train


@pytest.mark.parametrize(("variant", "channels", "classes", "size", "published"), PRODUCTS)
def test_multiply_adds(build, variant, channels, classes, size, published: str) -> None:
    with torch.device("meta"):
        model = build(variant, classes, channels=channels).eval()
        products = giga_products(lambda: model(torch.empty(1, 3, *size)))
    assert f"{products:.{len(published.partition('.')[2])}f}" == published


def test_multiply_adds_of_the_training_form(build) -> None:
    with torch.device("meta"):
        model = build().eval()
        model.decode_head.training = True  # batch norms in eval mode leave the meta device alone
        products = giga_products(lambda: model(torch.empty(1, 3, 1024, 2048)))
    assert f"{products:.1f}" == "244.5"


@pytest.mark.parametrize(
    ("arguments", "parameters", "products"),
    [({}, 57_390_805, "5.45"), ({"channels": 32, "num_blocks": (2, 2, 3)}, 16_278_709, "1.34")],
)
def test_classifier(arguments: dict, parameters: int, products: str) -> None:
    with torch.device("meta"):
        model = BEVANetClassifier(**arguments).eval()
        assert count(model) == parameters
        assert f"{giga_products(lambda: model(torch.empty(1, 3, 224, 224))):.2f}" == products


def test_entries_of_the_state_dict(build) -> None:
    with torch.device("meta"):
        assert len(build().state_dict()) == 777


# Made by the authors' code at commit 603205b with golden weights, on sin(0.01 n) of 1x3x128x256:
# mean, standard deviation, and the values at 0, N // 3, N // 2 and N - 1 of the flat map.
GOLDEN = {
    "detail4": (0.531151, 0.568906, 0.59936, -0.35777, 0.46705, 0.90473),
    "guide4": (-0.017278, 0.979332, 0.09556, -1.46336, -0.15019, 0.86811),
    "context": (0.053088, 3.086364, -0.25496, 0.49032, -3.99511, 5.79674),
    "fusion": (-0.002434, 0.527413),
    "main": (0.012717, 0.176987, -0.16705, 0.08818, 0.29030, -0.08303),
    "auxiliary": (-0.065714, 0.048918, 0.11178, -0.05287, -0.09740, -0.14899),
    "boundary": (-0.652084, 0.062803, -0.47598, -0.69626, -0.50848, -0.42543),
}


@pytest.fixture(scope="module")
def outputs(golden_small, image) -> dict[str, torch.Tensor]:
    """Outputs of each part, including the logits of all three heads."""
    net, head = golden_small.backbone, golden_small.decode_head
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str):
        return lambda module, args, output: seen.setdefault(name, output)

    # The authors' detail stage 4 is the attention block, before its layer norm.
    parts = {"detail4": net.detail4[1], "guide4": net.guide4}
    parts |= {"context": net.context, "fusion": net.fusion}
    handles = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    with torch.no_grad():
        auxiliary, main, boundary = net(image(1, 3, 128, 256))
        seen["main"] = head((auxiliary, main, boundary))
        seen["auxiliary"] = head.auxiliary_seg(head.auxiliary(auxiliary))
        seen["boundary"] = head.boundary_seg(head.boundary(boundary))
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_values(outputs, name: str) -> None:
    check_golden(outputs[name], GOLDEN[name])
