"""Dynamic Head as a neck: blocks of attention behind the pyramid of any detector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmattn.errors import ConfigError
from mmattn.ops import is_exporting
from mmattn.registry import MODELS

from .block import DynamicHeadBlock, check_levels


@MODELS.register_module()
class DynamicHead(BaseModule):
    """Attend to scale, space and task in every level of a pyramid, several times (2106.08322).

    Takes the arguments, and the weights, of mmdet's ``DyHead``, and returns the same::

        neck=[dict(type="FPN", ...),
              dict(type="mmattn.DynamicHead", in_channels=256, out_channels=256)]

    ``high_mode`` says how the next coarser level, h x w, is convolved with the offsets of a level
    of H x W:

    - ``"official"``: with the first 18 h w of its 18 H W offsets, channels and rows mixed up
      (``high_mode.beginning``). The authors' kernel did that, and mmdet's does: neither compares
      the sizes. **All published weights were trained so**, and need it.
    - ``"natural"``: upsampled to H x W first, then convolved there, as the paper describes. 47 %
      more multiply-adds at 800 x 1344.
    - ``"resize"``: with offsets and masks interpolated to h x w, as many multiply-adds as
      ``"official"``. Offsets are then pixels of the coarser map, as they are pixels of the finer
      one in the branch from below; neither is scaled.

    The last two are for trainings from the start; which of the three is most accurate was not
    measured here.

    Args:
        in_channels: Channels C of every level.
        out_channels: Channels O of every level of the result, a multiple of 16.
        num_blocks: Number of blocks, each with weights of its own.
        zero_init_offset: Whether offsets start at 0 and masks at 1/2. By default with mmdet's
            initialisation, not with the authors'.
        bias: Whether the deformable convolutions have a bias: the authors' do, mmdet's do not.
        high_mode: ``"official"``, ``"natural"`` or ``"resize"``, see above.
        init: Initial weights. ``"mmdet"`` draws those of all plain convolutions from N(0, 0.01²);
            ``"official"`` those of the scale attention alone, and leaves torch's to the others. In
            both, deformable convolutions start at U(-s, s) with s = 1 / sqrt(9 C).
        init_cfg: mmengine's initialisation; by default the weights above stay.

    Raises:
        ConfigError: An argument is none that there is; in ``forward``, the levels do not fit.

    Shape:
        - inputs: (N, C, H_i, W_i), from the finest on; each H_i, W_i half of the one before,
          rounded up
        - output: (N, O, H_i, W_i), a tuple of as many

    Example:
        >>> neck = DynamicHead(16, 32, num_blocks=2)
        >>> levels = [torch.zeros(1, 16, 8, 10), torch.zeros(1, 16, 4, 5), torch.zeros(1, 16, 2, 3)]
        >>> [tuple(y.shape) for y in neck(levels)]
        [(1, 32, 8, 10), (1, 32, 4, 5), (1, 32, 2, 3)]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int = 6,
        zero_init_offset: bool | None = None,
        *,
        bias: bool = False,
        high_mode: str = "official",
        init: str = "mmdet",
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if num_blocks < 1:
            raise ConfigError(f"num_blocks must be at least 1, got {num_blocks}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.dyhead_blocks = nn.Sequential(
            *(
                DynamicHeadBlock(
                    in_channels if number == 0 else out_channels,
                    out_channels,
                    bias=bias,
                    high_mode=high_mode,
                    init=init,
                    zero_init_offset=zero_init_offset,
                )
                for number in range(num_blocks)
            )
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        if is_exporting():
            return tuple(self.dyhead_blocks(inputs))
        check_levels(inputs, self.in_channels)
        channels_last = inputs[0].is_contiguous(memory_format=torch.channels_last)
        # Blocks compute channels-last; kernels of heads may not ask how memory is laid out.
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return tuple(y.contiguous(memory_format=layout) for y in self.dyhead_blocks(inputs))
