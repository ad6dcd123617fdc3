"""Distribution focal loss: cross entropy with the two bins around a distance."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mmattn.ops import accumulate_dtype, autocast_off


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of distributions over bins whose mean shall be ``target``.

    Li et al., Generalized Focal Loss, NeurIPS 2020, Eq. 6, with S = softmax(logits):
        -((i + 1 - y) log S_i + (y - i) log S_{i+1}),   i = floor(y)

    Args:
        logits: (…, reg_max)
        target: (…) in bins. It is clamped to 0 .. reg_max - 1.01, so that a bin is left above:
            what lies farther away than the bins reach is pulled towards the last one.

    Returns:
        (…), float32 at least
    """
    with autocast_off(logits.device.type):
        dtype = accumulate_dtype(logits.dtype)
        target = target.to(dtype).clamp(0, logits.shape[-1] - 1.01)
        below = target.long()
        share = target - below
        log_probabilities = F.log_softmax(logits.to(dtype), dim=-1)
        low = log_probabilities.gather(-1, below[..., None])[..., 0]
        high = log_probabilities.gather(-1, below[..., None] + 1)[..., 0]
        return -(low * (1 - share) + high * share)
