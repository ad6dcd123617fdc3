"""One image through a detector's network, 640 x 640, batch 1: from pixels to the head's maps.

"mmattn" is YOLOv12 fused and in channels-last layout; the same weights run unfused and in NCHW,
compiled by torch, and exported to onnxruntime and OpenVINO where these are installed. Normalisation
is in all of them, NMS in none. YOLOX-tiny and RTMDet-tiny of mmdet stand beside it: other networks,
whose results are not compared.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ops_cases import Contender, Row
from torch import Tensor, nn

from detection_cases import OTHERS, build_detector

SIZE = 640
UNFUSED = "unfused, NCHW"


def rows(device: str) -> list[Row]:
    """Return one case for each scale, n and s."""
    return [
        Row(
            "inference",
            f"YOLOv12-{scale}, {SIZE} x {SIZE}, batch 1",
            lambda scale=scale: contenders(scale, device),
            goals={UNFUSED: 1.5} if scale == "n" else {},
            tolerance=1e-3,
            comparable=lambda name: not name.startswith("mmdet"),
        )
        for scale in "ns"
    ]


def contenders(scale: str, device: str) -> dict[str, Contender]:
    """Return the same network in all its forms, and the other networks."""
    from mmattn.layers.fuse import fuse

    config = f"mmattn::yolov12/yolov12-{scale}_8xb32-600e_coco.py"
    model = build_detector(config, device)
    image = torch.randint(0, 256, (1, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    image = image.to(device, torch.float32)
    plain, last = torch.contiguous_format, torch.channels_last
    fused = {
        layout: fuse(copy.deepcopy(model)).to(memory_format=layout) for layout in (plain, last)
    }
    unfused = {layout: copy.deepcopy(model).to(memory_format=layout) for layout in (plain, last)}
    runs = {
        "mmattn": eager(fused[last], image.to(memory_format=last)),
        "fused, NCHW": eager(fused[plain], image),
        "unfused, channels-last": eager(unfused[last], image.to(memory_format=last)),
        UNFUSED: eager(unfused[plain], image),
    }
    runs |= compiled(fused[last], image.to(memory_format=last))
    if device == "cpu":
        runs |= exported(model, image)
    for name, other in OTHERS.items():
        runs[name] = eager(build_detector(other, device), image)
    return runs


def maps_of(model: Any, image: Tensor) -> list[Tensor]:
    """Normalise an image and return the outputs of the head, level by level."""
    data = {"inputs": image, "data_samples": None}
    outputs = model.bbox_head(model.extract_feat(model.data_preprocessor(data)["inputs"]))
    return [level for group in outputs for level in group]


def eager(model: nn.Module, image: Tensor) -> Contender:
    """Run operator by operator."""

    def run() -> list[Tensor]:
        with torch.inference_mode():
            return maps_of(model, image)

    return run


def compiled(model: Any, image: Tensor) -> dict[str, Contender]:
    """Return the network compiled by torch's default compiler, if that works here."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> list[Tensor]:
            outputs = self.model.bbox_head(self.model.extract_feat(x))
            return [level for group in outputs for level in group]

    network = torch.compile(Network())

    def run() -> list[Tensor]:
        with torch.inference_mode():
            data = {"inputs": image, "data_samples": None}
            return network(model.data_preprocessor(data)["inputs"])

    works = attempt(run, "torch.compile") is not None
    return {"fused, channels-last, compiled": run} if works else {}


def exported(model: nn.Module, image: Tensor) -> dict[str, Contender]:
    """Return the exported network in the runtimes that are installed."""
    from mmattn.export import OnnxSession, OpenVINOSession, convert_to_openvino, export_onnx
    from mmattn.layers.fuse import fuse

    threads = torch.get_num_threads()
    onnx_file = Path(tempfile.mkdtemp()) / "detector.onnx"
    export_onnx(fuse(copy.deepcopy(model)), onnx_file, shape=(SIZE, SIZE), output="raw")
    pixels = image.flip(1).numpy()  # files take RGB

    def runner(session: Any) -> Contender:
        return lambda: [torch.from_numpy(level) for level in session.run(pixels).values()]

    def openvino() -> Any:
        graph = onnx_file.with_suffix(".xml")
        convert_to_openvino(onnx_file, graph)
        return OpenVINOSession(graph, num_threads=threads)

    runs = {"fused, onnxruntime": runner(OnnxSession(onnx_file, num_threads=threads))}
    if (session := attempt(openvino, "OpenVINO")) is not None:
        runs["fused, OpenVINO"] = runner(session)
    return runs


def attempt(function: Callable[[], Any], what: str) -> Any:
    """Call a function; say what is left out, and return None, where it fails."""
    try:
        return function()
    except Exception as error:  # whatever a compiler or a package that is absent raises
        print(f"{what} is left out: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
