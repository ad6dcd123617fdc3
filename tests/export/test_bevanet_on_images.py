"""BEVANet-S, as trained and fused, on street images at sizes that no stride of it divides.

The weights are random, the statistics of the norms are those of the images: so the classes vary
over an image as a trained network's do. ``pytest -m slow -s`` shows the tables.
"""

from __future__ import annotations

import importlib.util

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmattn.config import load_config
from mmattn.export import check_parity, export_onnx, load_exported, read_images
from mmattn.export.tasks.semantic_model import torch_logits
from mmattn.inference import build_model
from mmattn.layers.fuse import fuse

SIZES = [(136, 260), (200, 333), (64, 64), (97, 131)]  # besides 360 x 480
MIN_AGREEMENT = 0.9999


@pytest.fixture(scope="module")
def street(request) -> list[np.ndarray]:
    """Images of CamVid, generated ones where it is absent."""
    try:
        root = request.getfixturevalue("shared_data") / "camvid" / "images" / "val"
    except pytest.skip.Exception:
        root = request.getfixturevalue("shapes") / "images" / "val"
    return read_images([root], limit=3)


def settled(cfg: Config, images: list[np.ndarray]) -> nn.Module:
    """The config's model with random weights that all matter, and norms that know the images."""
    torch.manual_seed(0)
    model = build_model(cfg)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.8, 1.2)
            norm.bias.normal_(0, 0.1)
            norm.momentum = None  # the statistics become those of the one batch
            norm.train()
        for name, parameter in model.named_parameters():
            if name.endswith("scale"):  # the attention's and the feed-forward network's
                parameter.uniform_(0.3, 0.7)
        nn.init.normal_(model.decode_head.conv_seg.weight, std=0.3)
        torch_logits(model, batch)
    return model.eval()


@pytest.fixture(scope="module")
def bevanet_s(street) -> nn.Module:
    return settled(load_config("mmattn::bevanet/bevanet-s_1xb12-20k_camvid-360x480.py"), street)


@pytest.mark.slow
def test_fused_narrow_bevanet_returns_classes(street, tmp_path) -> None:
    """An eighth of the width and one block per stage, at one size: what every run can afford."""
    backbone = {"channels": 8, "num_blocks": (1, 1, 1), "context_channels": 16}
    cfg = load_config("mmattn::bevanet/bevanet-s_1xb12-20k_camvid-360x480.py")
    cfg.merge_from_dict(
        {"model": {"backbone": backbone, "decode_head": {"in_channels": 32, "channels": 16}}}
    )
    model = settled(cfg, [image[::2, ::2] for image in street])
    path = tmp_path / "model.onnx"
    export_onnx(fuse(model), path, shape=(97, 131), output="classes")
    report = check_parity(model, path, street, min_agreement=MIN_AGREEMENT)
    assert [(row.height, row.width, row.relative) for row in report.rows] == [(97, 131, None)]
    classes = load_exported(path).predict(cv2.resize(street[0], (131, 97)))
    assert classes.dtype == np.int64 and len(np.unique(classes)) > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fused", "output"),
    [(False, "logits"), (True, "logits"), (True, "classes")],
    ids=["as trained", "fused", "fused, classes"],
)
def test_bevanet_s_with_free_sizes(bevanet_s, street, fused, output, tmp_path) -> None:
    path = tmp_path / "model.onnx"
    form = fuse(bevanet_s) if fused else bevanet_s
    metadata = export_onnx(form, path, shape=(360, 480), dynamic=True, output=output)
    assert metadata.size_divisor == 1
    converted = []
    if importlib.util.find_spec("openvino"):
        from mmattn.export import convert_to_openvino

        converted.append(tmp_path / "model.xml")
        convert_to_openvino(path, converted[0])
    report = check_parity(
        bevanet_s,
        path,
        street,
        sizes=SIZES,
        min_agreement=MIN_AGREEMENT,
        converted=converted,
    )
    for part in report.files:
        print(f"\n{part.runtime}\n{part.table()}")
        assert [(row.height, row.width) for row in part.rows[-len(SIZES) :]] == SIZES
    classes = load_exported(path).predict(street[0])
    assert len(np.unique(classes)) > 2, "a network that sees one class would prove nothing"
