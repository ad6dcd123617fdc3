"""The traced module of every task: RGB images in, with the normalisation inside."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ExportableModel(nn.Module):
    """A network with its data preprocessor, as a function of RGB images.

    mmcv reads images as BGR, so the network sees RGB exactly if its data preprocessor swaps
    channels. A subclass defines ``forward``, for images of shape (N, 3, H, W), float32 RGB in
    0..255.

    Args:
        model: Model with a data preprocessor of OpenMMLab.
        output: Form of the output, one of the task's ``outputs``.

    Attributes:
        axes: Output name -> position of an axis -> its name, for the axes that are free in a file
            with free sizes. The order of the names is the order of the outputs.
        classes: Class names by index.
        threshold: Threshold of the decision, None where there is none.
        test_mode: How the config's own test runs the network, for the metadata.
    """

    axes: dict[str, dict[int, str]]
    classes: list[str]
    threshold: float | None = None
    test_mode: str = "whole"

    def __init__(self, model: nn.Module, output: str) -> None:
        super().__init__()
        self.model = model
        self.output = output
        preprocessor = model.data_preprocessor
        self.normalises = bool(getattr(preprocessor, "_enable_normalize", False))
        self.network_channel_order = (
            "RGB" if getattr(preprocessor, "_channel_conversion", False) else "BGR"
        )
        mean = preprocessor.mean if self.normalises else torch.zeros(3, 1, 1)
        std = preprocessor.std if self.normalises else torch.ones(3, 1, 1)
        self.register_buffer("mean", mean.detach().clone(), persistent=False)
        self.register_buffer("std", std.detach().clone(), persistent=False)

    @property
    def size_divisor(self) -> int:
        """Number that the config wants height and width to be multiples of, by default mmdet's."""
        return int(getattr(self.model.data_preprocessor, "pad_size_divisor", 1) or 1)

    def postprocess(self) -> dict[str, Any] | None:
        """Return what the metadata say about the selection of results; None without one."""
        return None

    def class_names(self, count: int) -> list[str]:
        """Return the class names of the model's dataset; numbered ones if it knows none."""
        meta = getattr(self.model, "dataset_meta", None) or {}
        return [str(name) for name in meta.get("classes") or ()] or [
            f"class {index}" for index in range(count)
        ]

    def normalise(self, images: Tensor) -> Tensor:
        """Return ``images``, float32 RGB in 0..255, as the network expects them."""
        if self.network_channel_order == "BGR":
            images = images.flip(1)
        if self.normalises:
            images = (images - self.mean) / self.std
        return images
