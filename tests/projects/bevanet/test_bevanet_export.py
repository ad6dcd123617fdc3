"""Promise: the network and its fused model become ONNX files of dynamic sizes that equal torch."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "as trained"])
def test_onnx_with_free_sizes(golden_narrow, fused: bool, tmp_path) -> None:
    import copy

    from mmseg.models import SegDataPreProcessor

    from mmattn.export import check_parity, export_onnx
    from mmattn.layers.fuse import fuse

    model = copy.deepcopy(golden_narrow)
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    model.data_preprocessor = SegDataPreProcessor(mean=mean, std=std, bgr_to_rgb=True)
    path = tmp_path / "model.onnx"
    form = fuse(model) if fused else model
    metadata = export_onnx(form, path, shape=(128, 192), dynamic=True)
    assert metadata.size_divisor == 1
    image = np.random.default_rng(0).integers(0, 256, (128, 192, 3), np.uint8)
    report = check_parity(model, path, [image])  # always against the network as trained
    assert report.passed, report.table()
    assert len(report.rows) == 5
