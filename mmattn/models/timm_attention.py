"""``mmattn.TimmAttention``: timm's attention modules by name, as blocks for any place.

    plugins=[dict(cfg=dict(type='mmattn.TimmAttention', name='sk'), position='after_conv2')]

The arithmetic is timm's (``timm.layers.create_attn``); ``DIFFERENCES`` says where it is not that of
the paper that a name stands for. What is added here makes every name work at every place:

- ``halo`` and ``bat`` work on blocks of a fixed size: the map is padded with zeros at the bottom
  and at the right, and what comes back is cropped.
- ``bottleneck`` has position embeddings for one size: for others they are interpolated linearly.
- ``ge`` cannot be built with its MLP in timm 1.0.31, which hands ``device`` to it as a width: the
  MLP is put in afterwards.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from mmattn.errors import did_you_mean
from mmattn.layers.checks import require_at_least
from mmattn.registry import MODELS

#: Name -> what it is and what differs from its paper, in timm 1.0.31.
DIFFERENCES: dict[str, str] = {
    "se": "squeeze and excitation (1709.01507); hidden channels rounded to a multiple of 8",
    "ese": "effective SE (1911.06667), one layer without reduction; as in the paper",
    "eca": "ECA (1910.03151); the kernel has at least 3 weights",
    "ecam": "ECA with a two-layer MLP along the channels; timm's own",
    "ceca": "ECA with circular padding, where the first channels are the last ones' neighbours; "
    "timm's own",
    "ge": "gather-excite (1810.12348) over the whole map with a two-layer MLP; the paper's smaller "
    "extents and learnt gathering are `extent` and `extra_params`",
    "gc": "global context (1904.11492) that scales by a sigmoid, where the paper adds (`gca`); "
    "C / 8 hidden channels for the paper's C / 16",
    "gca": "global context that adds, as in the paper; the bias of its last layer is not zero at "
    "first; C / 8 hidden channels for the paper's C / 16",
    "cbam": "CBAM (1807.06521); no biases in the MLP, the mean before the maximum, a norm whose "
    "weight starts at 1 and not at 0",
    "lcbam": "CBAM with the average of mean and maximum in place of both; timm's own",
    "coord": "coordinate attention (2103.02907); C / 24 hidden channels, rounded to a multiple of "
    "8, for the authors' C / 32; no biases",
    "scoord": "coordinate attention of linear layers without norm, whose two logits are added "
    "before one sigmoid; timm's own",
    "ela": "efficient local attention (2403.01123); two convolutions and two norms where the "
    "authors share one of each, one group in each norm, one more activation",
    "strip": "one gate from the sum of row and column means, after a depthwise convolution each",
    "sk": "selective kernel (1903.06586), in place of a convolution: no shortcut; the kernels "
    "share out the input's channels, and the 5 x 5 kernel is 3 x 3 with dilation 2",
    "splat": "split attention (2004.08955), in place of a convolution: no shortcut; no norms "
    "unless `norm_layer` is given",
    "lambda": "lambda layer (2102.08602), in place of a convolution: no shortcut; local context "
    "of 9 x 9 for the paper's 23 x 23",
    "bottleneck": "attention over all positions with relative positions (2101.11605), in place of "
    "a convolution: no shortcut; memory grows with (H W)^2",
    "halo": "attention in blocks of 8 x 8 with a halo of 3 (2103.12731), in place of a "
    "convolution: no shortcut",
    "nl": "non-local block (1711.07971); logits divided by sqrt(C) (not with `use_scale=False`), "
    "C / 8 hidden channels for the paper's C / 2",
    "bat": "bilinear attention transform (CVPR 2020), with its shortcut; dropout of 0.2",
}
#: Sizes of the blocks that a map is cut into: name -> argument's default.
_BLOCKS = {"halo": 8, "bat": 7}
_FEAT_SIZE = (14, 14)


@MODELS.register_module()
class TimmAttention(nn.Module):
    """An attention module of timm, by its name.

    Args:
        in_channels: Channels C of the input.
        name: Name that ``timm.layers.create_attn`` knows, one of ``DIFFERENCES``.
        **arguments: Arguments of timm's module, such as ``rd_ratio``. Those that change the shape
            of the output (``stride``, ``out_channels``, ``dim_out``) are refused.

    Shape:
        (N, C, H, W) -> (N, C, H, W)

    Raises:
        ValueError: No such name in this version of timm, an argument that the module does not have,
            or a number of channels that it cannot work with.

    Example:
        >>> import torch
        >>> TimmAttention(32, name='se')(torch.ones(2, 32, 5, 7)).shape
        torch.Size([2, 32, 5, 7])
    """

    def __init__(self, in_channels: int, name: str, **arguments: Any):
        super().__init__()
        require_at_least(1, in_channels=in_channels)
        self.name = name
        _check_arguments(name, arguments)
        self.block_size = int(arguments.get("block_size", _BLOCKS.get(name, 1)))
        try:
            self.attn = _create(name, in_channels, arguments)
        except (AssertionError, RuntimeError, ZeroDivisionError) as error:
            reason = str(error) or "it asks for a multiple of its number of heads or paths"
            raise ValueError(
                f"timm's {name!r} cannot work with in_channels={in_channels}: {reason}"
            ) from error

    def init_weights(self) -> None:
        """Set timm's initial state again, after a network has initialised all its layers."""
        for module in self.attn.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        if hasattr(self.attn, "reset_parameters"):
            self.attn.reset_parameters()  # of the whole, after that of its layers

    def forward(self, x: Tensor) -> Tensor:
        if self.name == "bottleneck":
            return self._with_positions_of(x)
        if self.block_size == 1:
            return self.attn(x)
        height, width = x.shape[2:]
        below, beside = -height % self.block_size, -width % self.block_size
        return self.attn(F.pad(x, (0, beside, 0, below)))[:, :, :height, :width]

    def _with_positions_of(self, x: Tensor) -> Tensor:
        """Apply the module with its tables of relative positions interpolated to the map's size."""
        positions = self.attn.pos_embed
        tables = {}
        for side, length in zip(("height", "width"), x.shape[2:], strict=True):
            table = getattr(positions, f"{side}_rel")  # (2 length - 1, C / heads)
            if len(table) != 2 * length - 1:
                table = F.interpolate(
                    table.T[None], size=2 * length - 1, mode="linear", align_corners=True
                )[0].T
            tables[f"pos_embed.{side}_rel"] = table
            setattr(positions, side, length)
        return functional_call(self.attn, tables, (x,))

    def extra_repr(self) -> str:
        return f"name={self.name!r}"


def names() -> list[str]:
    """Return the names that this version of timm has, of those in ``DIFFERENCES``."""
    return [name for name in DIFFERENCES if _module_class(name) is not None]


def _module_class(name: str) -> Any:
    """Return timm's class, or partial of a class, of that name; None if it has none."""
    from timm.layers import get_attn

    try:
        return get_attn(name)
    except AssertionError:
        return None


def _check_arguments(name: str, arguments: dict[str, Any]) -> None:
    """Refuse a name or argument that timm does not know; some of its modules ignore them."""
    cls = _module_class(name) if isinstance(name, str) else None
    if cls is None:
        known = names()
        raise ValueError(
            f"timm has no attention module {name!r}.{did_you_mean(str(name), known)} "
            f"It has {', '.join(known)}"
        )
    taken = {
        key
        for key, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    } - {"channels", "in_channels", "dim", "stride", "out_channels", "dim_out", "device", "dtype"}
    for key in arguments:
        if key not in taken:
            raise ValueError(
                f"timm's {name!r} takes no argument {key!r} here.{did_you_mean(key, taken)} "
                f"It takes {', '.join(sorted(taken))}"
            )


def _create(name: str, channels: int, arguments: dict[str, Any]) -> nn.Module:
    from timm.layers import create_attn

    if name == "bottleneck":
        arguments = {"feat_size": _FEAT_SIZE, **arguments}
    if name == "ge" and arguments.get("use_mlp", True):
        from timm.layers import ConvMlp, make_divisible

        module: Any = create_attn(name, channels, **{**arguments, "use_mlp": False})
        width = channels * arguments.get("rd_ratio", 1 / 16)
        hidden = arguments.get("rd_channels") or make_divisible(
            width, arguments.get("rd_divisor", 1), round_limit=0
        )
        act_layer = arguments.get("act_layer", nn.ReLU)
        module.mlp = ConvMlp(channels, hidden, act_layer=act_layer)
    else:
        module = create_attn(name, channels, **arguments)
    return module
