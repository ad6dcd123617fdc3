"""One training step of a whole detector: forward, losses and backward; 640 x 640, 2 images.

The optimiser is left out: it is torch's own in all. "mmattn" is YOLOv12-n in channels-last layout;
the same weights in NCHW have to have the same losses. The networks of mmdet are others, and their
results are not compared. The data pipeline has a case of its own.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from ops_cases import Contender, Row
from torch import Tensor, nn

from detection_cases import OTHERS, build_detector

from .training_loss import some_boxes

SIZE, IMAGES, BOXES = 640, 2, 20


def rows(device: str) -> list[Row]:
    """Return one case."""
    return [
        Row(
            "training step",
            f"YOLOv12-n, {SIZE} x {SIZE}, {IMAGES} images of {BOXES} boxes",
            lambda: contenders(device),
            tolerance=1e-3,
            comparable=lambda name: not name.startswith("mmdet"),
        )
    ]


def contenders(device: str) -> dict[str, Contender]:
    """Return a step of each network on the same images and boxes."""
    model = build_detector("mmattn::yolov12/yolov12-n_8xb32-600e_coco.py", device)
    random = torch.Generator().manual_seed(0)
    images = torch.rand(IMAGES, 3, SIZE, SIZE, generator=random).to(device)
    boxes = some_boxes(IMAGES, BOXES, SIZE, random)
    labels = torch.randint(0, 80, (IMAGES, BOXES), generator=random)
    last = torch.channels_last
    return {
        "mmattn": step(copy.deepcopy(model).to(memory_format=last), images, boxes, labels, last),
        "NCHW": step(model, images, boxes, labels),
        **{
            name: step(build_detector(config, device), images, boxes, labels)
            for name, config in OTHERS.items()
        },
    }


def step(
    model: nn.Module,
    images: Tensor,
    boxes: Tensor,
    labels: Tensor,
    layout: torch.memory_format = torch.contiguous_format,
) -> Contender:
    """Return a training step without the optimiser; its result is the sum of the losses."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    detector: Any = model.train()
    images = images.to(memory_format=layout)
    shape = {
        "img_shape": (SIZE, SIZE),
        "batch_input_shape": (SIZE, SIZE),
        "pad_shape": (SIZE, SIZE),
    }
    samples = []
    for some, named in zip(boxes.to(images.device), labels.to(images.device), strict=True):
        sample = DetDataSample(metainfo=shape)
        sample.gt_instances = InstanceData(bboxes=some, labels=named)
        sample.ignored_instances = InstanceData(bboxes=some[:0], labels=named[:0])
        samples.append(sample)

    def run() -> list[Tensor]:
        losses, _ = detector.parse_losses(detector.loss(images, samples))
        detector.zero_grad()
        losses.backward()
        return [losses.detach()]

    return run
