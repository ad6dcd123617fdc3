"""Find the most likely class of every pixel without all logits in memory at full size.

A head answers at a fraction of the image's size, 1/64 of its pixels as a rule. Scaling all K
classes up, and once more to the size of the file, takes 2 K maps of that size: 320 MB for an image
of Cityscapes, gigabytes for the largest of ADE20K. Here one class is scaled up at a time and
compared with the best so far, so that a few maps are enough, whatever K is:
    label, best = 0, m_0;   for c = 1 .. K - 1:  label = c where m_c > best,  best = max(best, m_c)
Each class goes through the very calls of ``F.interpolate`` that mmseg makes, at its borders too,
and a tie goes to the lower class as in ``argmax``: the labels are equal, not only close.

What that rests on: torch computes a class in the same way whether it comes alone or with others. It
does on CPUs, but for three classes and where height and width add up to 128 at most; so a few
classes, or little maps, are scaled together after all. What remains are small windows or files
beside large images, heads that answer with a single pixel, and logits in channels-last layout,
which are copied to the usual one: there torch may round the last bit differently, and a pixel whose
best two classes are that close may turn. Logits have to be finite.

Windows that slide over an image are kept at the head's size as well. A class of the image is
    m[u] = sum_k w_k[u] m_k[u] / sum_k w_k[u]  over the windows k that contain u
with w = 1 (uniform, mmseg's) or a Hann window, which trusts a window's middle more than its rim:
    w[y, x] = sin^2(pi (y + 1/2) / height) sin^2(pi (x + 1/2) / width)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import accumulate_dtype

Size = tuple[int, int]
BLENDS = ("uniform", "cosine")
# Classes, and numbers in all their maps (16 MB in single precision), up to which they are together.
_FEW = 4
_SMALL = 1 << 22


@dataclass(frozen=True)
class Window:
    """Rows ``top`` to ``bottom`` - 1 and columns ``left`` to ``right`` - 1 of an image."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> Size:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def of(self, maps: Tensor) -> Tensor:
        """Return this part of maps of shape (…, H, W), as a view."""
        return maps[..., self.top : self.bottom, self.left : self.right]


def sliding_windows(size: Size, crop: Size, stride: Size) -> list[Window]:
    """Lay windows over an image as mmseg does, row by row.

    The last ones of a row or column are moved back into the image; an image smaller than
    ``crop`` is one window.

    Args:
        size: Height and width of the image.
        crop: Height and width of a window.
        stride: Steps from one window to the next; at most ``crop``, or pixels would lie in none.
    """
    starts = []
    for length, window, step in zip(size, crop, stride, strict=True):
        count = max(length - window + step - 1, 0) // step + 1
        ends = [min(index * step + window, length) for index in range(count)]
        starts.append([(max(end - window, 0), end) for end in ends])
    rows, columns = starts
    return [Window(*row, *column) for row in rows for column in columns]


def hann_weights(size: Size, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return weights of a window's pixels, (height, width): 1 in the middle, above 0 at the rim."""
    lines = []
    for length in size:
        places = torch.arange(length, device=device, dtype=dtype) + 0.5
        lines.append(torch.sin(places * (math.pi / length)).square())
    return lines[0][:, None] * lines[1]


class LogitMaps:
    """Logits of one image at the network's input size, scaled up for some classes at a time.

    Args:
        parts: Windows, with their logits of shape (K, h, w) at the head's size.
        size: Height and width of the image at the network's input.
        align_corners: Option ``align_corners`` of ``F.interpolate``.
        blend: Weights of the windows, ``"uniform"`` or ``"cosine"``; a single one needs neither.
        dtype: Type of the logits. Uniform windows are also added up in it, as in mmseg; cosine ones
            in float32 at least, since weights at a corner underflow in half precision (to 0 / 0).
    """

    def __init__(
        self,
        parts: Sequence[tuple[Window, Tensor]],
        size: Size,
        *,
        align_corners: bool,
        blend: str = "uniform",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.parts = [(window, logits.contiguous()) for window, logits in parts]
        self.size = size
        self.align_corners = align_corners
        self.dtype = dtype
        self.classes = len(self.parts[0][1])
        self._weights: dict[Size, Tensor] = {}
        self._total: Tensor | None = None
        if len(self.parts) == 1:
            return
        device = self.parts[0][1].device
        summed = accumulate_dtype(dtype) if blend == "cosine" else dtype
        self._total = torch.zeros(size, device=device, dtype=summed)
        for window, _ in self.parts:
            if blend == "cosine" and window.size not in self._weights:
                self._weights[window.size] = hann_weights(window.size, device, summed)
            window.of(self._total).add_(self._weights.get(window.size, 1))

    def some(self, classes: slice) -> Tensor:
        """Return the logits of some classes for every pixel, (number of them, H, W)."""
        if self._total is None:
            return self._scaled(*self.parts[0], classes)
        count = len(self.parts[0][1][classes])
        total = self._total.new_zeros((count, *self.size))
        for window, logits in self.parts:
            piece = self._scaled(window, logits, classes)
            if self._weights:
                piece = piece * self._weights[window.size]
            window.of(total).add_(piece)
        return total.div_(self._total).to(self.dtype)

    def stacked(self) -> Tensor:
        """Return the logits of all classes, (K, H, W)."""
        return self.some(slice(0, self.classes))

    def _scaled(self, window: Window, logits: Tensor, classes: slice) -> Tensor:
        return scaled(logits[classes], window.size, self.align_corners)


def scaled(maps: Tensor, size: Size, align_corners: bool) -> Tensor:
    """Resize maps (K, h, w) by bilinear interpolation."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps  # what the interpolation would give, bit by bit
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=align_corners)[0]


def best_class(maps: LogitMaps, finish: Callable[[Tensor], Tensor], final: Size) -> Tensor:
    """Return the class with the largest logit for every pixel.

    Args:
        maps: Logits of one image.
        finish: Function that brings maps (n, H, W) of some classes into their final form: cropped,
            flipped, resized.
        final: Height and width after ``finish``.

    Returns:
        (height, width) int64
    """
    numbered = (
        (index, logits)
        for group in _groups(maps.classes, max(math.prod(maps.size), math.prod(final)))
        for index, logits in enumerate(finish(maps.some(group)), start=group.start)
    )
    best = next(numbered)[1].clone()
    dtype = torch.int16 if maps.classes < 2**15 else torch.int32
    label = torch.zeros(best.shape, dtype=dtype, device=best.device)
    for index, logits in numbered:
        label.masked_fill_(logits > best, index)
        torch.maximum(best, logits, out=best)
    return label.long()


def _groups(classes: int, pixels: int) -> list[slice]:
    """Group the classes to scale together: all where they are few or small, else each alone."""
    if classes <= _FEW or classes * pixels <= _SMALL:
        return [slice(0, classes)]
    return [slice(index, index + 1) for index in range(classes)]
