"""A semantic segmentor as a function of images: what is traced, and what parity refers to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmattn.errors import ExportError


def require_segmentor(model: nn.Module) -> None:
    """Refuse what this exporter does not know.

    Raises:
        ExportError: ``model`` is a detector, or no mmseg ``EncoderDecoder``.
    """
    from mmseg.models import EncoderDecoder

    if isinstance(model, EncoderDecoder):
        return
    name = type(model).__name__
    if any(base.__module__.startswith("mmdet.") for base in type(model).__mro__):
        raise ExportError(
            f"{name} is a detector; export writes semantic segmentors so far, detectors not yet"
        )
    raise ExportError(f"{name} cannot be exported: it is not an mmseg EncoderDecoder")


def class_map(logits: Tensor, threshold: float | None) -> Tensor:
    """The decision that mmseg takes: argmax, or a threshold for a one-channel output.

    Args:
        logits: (N, classes, H, W)
        threshold: Probability for class 1 where there is one channel.

    Returns:
        (N, H, W) int64
    """
    if threshold is None:
        return logits.argmax(1)
    return (logits[:, 0].sigmoid() > threshold).long()


class ExportableSegmentor(nn.Module):
    """RGB images in, logits at the same size out; normalisation and channel order inside.

    mmcv reads images as BGR, so the network sees RGB exactly if its data preprocessor swaps
    channels.

    Args:
        model: An mmseg ``EncoderDecoder``.
        output: ``"logits"`` or ``"classes"``.

    Shape:
        - images: (N, 3, H, W) float32 RGB in 0..255
        - output: (N, classes, H, W) float32, or (N, H, W) int64

    Raises:
        ExportError: The model is not a semantic segmentor, or ``output`` is unknown.
    """

    def __init__(self, model: nn.Module, *, output: str = "logits") -> None:
        super().__init__()
        require_segmentor(model)
        if output not in ("logits", "classes"):
            raise ExportError(f"output must be 'logits' or 'classes', got {output!r}")
        self.model = model
        self.output = output
        preprocessor = model.data_preprocessor
        self.normalises = bool(getattr(preprocessor, "_enable_normalize", False))
        self.network_channel_order = (
            "RGB" if getattr(preprocessor, "_channel_conversion", False) else "BGR"
        )
        self.size_divisor = int((preprocessor.test_cfg or {}).get("size_divisor") or 1)
        self.threshold = model.decode_head.threshold if model.out_channels == 1 else None
        mean = preprocessor.mean if self.normalises else torch.zeros(3, 1, 1)
        std = preprocessor.std if self.normalises else torch.ones(3, 1, 1)
        self.register_buffer("mean", mean.detach().clone(), persistent=False)
        self.register_buffer("std", std.detach().clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if self.network_channel_order == "BGR":
            images = images.flip(1)
        if self.normalises:
            images = (images - self.mean) / self.std
        # mmseg resizes the logits to img_shape; one entry serves the whole batch.
        logits = self.model.encode_decode(images, [{"img_shape": images.shape[2:]}])
        return logits if self.output == "logits" else class_map(logits, self.threshold)


@torch.no_grad()
def torch_logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits by the model's own path, data preprocessor included: what a file is compared with.

    Args:
        model: An mmseg ``EncoderDecoder`` in eval mode.
        images: (N, 3, H, W) uint8 RGB

    Returns:
        (N, classes, H, W) float32
    """
    from mmseg.structures import SegDataSample

    bgr = list(images.flip(1))
    samples = [SegDataSample() for _ in bgr]
    inputs = model.data_preprocessor({"inputs": bgr, "data_samples": samples})["inputs"]
    return model.encode_decode(inputs, [{"img_shape": inputs.shape[2:]}] * len(bgr))


def network_size_divisor(model: nn.Module, shape: tuple[int, int], *, at_least: int = 1) -> int:
    """The smallest power of two whose odd multiples the network accepts as height and width.

    Some networks (PIDNet, DDRNet) add a branch resized to ``H // 8`` to one of ``ceil(H / 8)``;
    they refuse other sizes in torch already. Found by trying, since no config says it.

    Raises:
        ExportError: Not even multiples of 128 run.
    """
    divisor, error = 1, None
    device = next(model.parameters()).device
    while divisor <= 128:
        if divisor >= at_least:
            # Odd multiples: a multiple of 2 * divisor would not tell divisor from its double.
            height, width = ((max(side // divisor, 1) | 1) * divisor for side in shape)
            try:
                torch_logits(
                    model, torch.zeros(1, 3, height, width, dtype=torch.uint8, device=device)
                )
                return divisor
            except RuntimeError as failure:
                error = failure
        divisor *= 2
    raise ExportError(
        f"the network runs at no size near {shape[0]} x {shape[1]}; give --shape"
    ) from error
