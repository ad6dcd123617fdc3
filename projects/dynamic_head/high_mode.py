"""How the next coarser level reaches a level: with which offsets, and upsampled before or after.

The deformable convolution of the coarser map has an output of its size, h x w, and offsets of the
level's own size, H x W. The three answers are ``HIGH_MODES``.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

HIGH_MODES = {
    "official": "as all published weights were trained",
    "natural": "the coarser map upsampled first",
    "resize": "offsets and masks resized to the coarser map",
}


def beginning(sampling: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the first numbers of each image, as if they had been written for another size.

    The authors' kernels, and mmcv's, never compare the size of the offsets with that of the output:
    they step through memory with strides h w, so that the coarser level reads the beginning of
    the finer level's offsets, channels and rows mixed up.

    Args:
        sampling: Offsets or masks, (N, K, H, W).
        size: Height h and width w of the output, at most H and W.

    Returns:
        (N, K, h, w), the first K h w numbers of every image.
    """
    channels, (height, width) = sampling.shape[1], size
    numbers = sampling.flatten(1)[:, : channels * height * width]
    return numbers.unflatten(1, (channels, height, width))


def upsample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolate bilinearly to ``size``, corner to corner, as the authors do."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
