"""mmseg's common models, unmodified, with free sizes (``pytest -m slow -s`` shows the tables)."""

from __future__ import annotations

import numpy as np
import pytest

MODELS = [
    "fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024",
    "pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024",
    "deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024",
    "ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024",
    "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
    "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes",
    "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024",
    "ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024",
    "upernet/upernet_r18_4xb2-40k_cityscapes-512x1024",
    "stdc/stdc1_4xb12-80k_cityscapes-512x1024",
    "bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS, ids=lambda name: name.split("/")[0])
def test_mmseg_model_exports_with_free_sizes(name, build, tmp_path) -> None:
    from mmattn.config import load_config
    from mmattn.export import check_parity, export_onnx

    model = build(load_config(f"mmseg::{name}.py"))
    path = tmp_path / "model.onnx"
    export_onnx(model, path, shape=(128, 192), dynamic=True)
    image = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    report = check_parity(model, path, [image])
    print(f"\n{name}\n{report.table()}")
    assert len(report.rows) == 5
