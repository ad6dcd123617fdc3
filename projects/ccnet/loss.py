"""Category-consistent loss (Huang et al., CCNet, TPAMI 2020, arXiv:1811.11721, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmattn.registry import MODELS


@MODELS.register_module()
class CategoryConsistentLoss(nn.Module):
    """Pulls the features of a class together and pushes the means of different classes apart.

    With C the classes present in the batch, mu_c the mean feature of class c and N_c its pixels::

        L     = alpha L_var + beta L_dis + gamma L_reg
        L_var = 1/|C| sum_c 1/N_c sum_i phi_v(||h_i - mu_c||)
        L_dis = 1/(|C| (|C| - 1)) sum_{a != b} phi_d(||mu_a - mu_b||)
        L_reg = 1/|C| sum_c ||mu_c||

        phi_v(t) = 0                              t <= delta_v
                   (t - delta_v)^2                delta_v < t <= delta_d
                   t - delta_d + (delta_d - delta_v)^2    delta_d < t
        phi_d(t) = (2 delta_d - t)^2 for t <= 2 delta_d, else 0

    The linear tail of phi_v makes training converge more often than a purely quadratic phi_v. The
    paper does not say how labels are resized (nearest neighbour here), what L_dis of a single class
    is (0 here), or the loss of a batch without labelled pixels (0 here). Each device computes the
    loss of its own batch, at least in float32.

    Args:
        delta_v: Distance to the class mean that costs nothing.
        delta_d: Half the distance between class means that costs nothing.
        alpha: Weight of L_var.
        beta: Weight of L_dis.
        gamma: Weight of L_reg.
        loss_weight: Weight of the sum.
        loss_name: Name in the log; it must begin with ``loss`` to take part in the backward pass.
    """

    def __init__(
        self,
        *,
        delta_v: float = 0.5,
        delta_d: float = 1.5,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.001,
        loss_weight: float = 1.0,
        loss_name: str = "loss_category",
    ):
        super().__init__()
        if not 0 <= delta_v <= delta_d:
            raise ValueError(f"0 <= delta_v <= delta_d must hold, got {delta_v} and {delta_d}")
        self.delta_v = delta_v
        self.delta_d = delta_d
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(self, features: Tensor, labels: Tensor, *, ignore_index: int = 255) -> Tensor:
        """Return the loss, a scalar.

        Args:
            features: Shape (N, K, H, W).
            labels: Class of each pixel, at any resolution. Shape (N, h, w), integer.
            ignore_index: Label of pixels to ignore.
        """
        if labels.shape[-2:] != features.shape[-2:]:
            # Nearest neighbour in float64 keeps every integer label exact.
            labels = F.interpolate(labels[:, None].double(), size=features.shape[-2:])[:, 0].long()
        labelled = labels != ignore_index  # (N, H, W)
        pixels = features.permute(0, 2, 3, 1)[labelled]  # (P, K)
        if pixels.dtype not in (torch.float32, torch.float64):
            pixels = pixels.float()
        if len(pixels) == 0:
            return features.sum() * 0.0  # keeps every parameter in the graph

        with torch.autocast(pixels.device.type, enabled=False):
            return self.loss_weight * self._loss(pixels, labels[labelled])

    def _loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        classes, member, count = labels.unique(return_inverse=True, return_counts=True)
        # A product with the one-hot membership averages per class, deterministically.
        share = F.one_hot(member, len(classes)).to(pixels.dtype) / count  # (P, |C|)
        means = share.T @ pixels  # (|C|, K)

        # vector_norm has gradient 0 at 0, where sqrt would have none.
        to_mean = torch.linalg.vector_norm(pixels - means[member], dim=1)  # (P,)
        variation = (share.T @ self._pull(to_mean)).mean()
        norm = torch.linalg.vector_norm(means, dim=1).mean()
        return self.alpha * variation + self.beta * self._distance(means) + self.gamma * norm

    def _pull(self, distance: Tensor) -> Tensor:
        """Return phi_v, elementwise."""
        quadratic = (distance - self.delta_v).clamp_min(0).square()
        linear = distance - self.delta_d + (self.delta_d - self.delta_v) ** 2
        return torch.where(distance > self.delta_d, linear, quadratic)

    def _distance(self, means: Tensor) -> Tensor:
        """Return L_dis of class means. Shape (|C|, K) -> ()."""
        pairs = torch.combinations(
            torch.arange(len(means), device=means.device)
        )  # (|C| choose 2, 2)
        if len(pairs) == 0:
            return means.new_zeros(())
        between = torch.linalg.vector_norm(means[pairs[:, 0]] - means[pairs[:, 1]], dim=1)
        # Unordered pairs: the mean over them is the mean over all ordered ones.
        return (2 * self.delta_d - between).clamp_min(0).square().mean()
