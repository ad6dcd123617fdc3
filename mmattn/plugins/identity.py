"""The identity form of a block: a network with fresh blocks computes what it computed without.

With f the block, as its paper has it, and s one number per channel, s = 0 at the start:

    y = x + s (f(x) - x)                    LayerScale of what the block changes

s = 0 returns x and s = 1 returns f(x), both bit for bit (``torch.lerp``). s is the parameter
``residual_scale``, of shape (C,), on the block itself: all other names in its state dict stay those
of the plain form, and weights of the plain form load with s = 1.

A block that by itself returns its input at the start, with a last layer or a gate that starts at
zero, is left as it is: two factors that are both zero would leave both without a gradient.

In the first step s has a gradient and f has none, as the factor s says; from the second on, both
have.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .dry_run import preserve_state

#: Name of s, and its value where a file of weights has the block without it.
RESIDUAL_SCALE = "residual_scale"
PLAIN_SCALE = 1.0
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def start_as_identity(block: nn.Module, channels: int) -> None:
    """Make a fresh block return its input, by a parameter that starts at zero, where it does not.

    Args:
        block: Fresh block that maps (N, channels, H, W) to the same shape; it is changed in place.
        channels: Number of channels.

    Raises:
        ValueError: The block starts as the identity, but a network that initialises its layers
            undoes that; or it has a parameter called ``residual_scale`` of its own.
    """
    vars(block)["starts_as_identity"] = True  # for the report of mmattn.io.load_into_model
    if _returns_its_input(block, channels):
        if not _returns_its_input(_initialized_by_a_network(block), channels):
            raise ValueError(
                "it starts as the identity, but not after a network has initialised all of its "
                "convolutions, linear layers and norms; give it a method init_weights() that sets "
                "its own initial state again"
            )
        return
    if hasattr(block, RESIDUAL_SCALE):
        raise ValueError(f"it has an attribute {RESIDUAL_SCALE!r} of its own")
    weight = next(block.parameters(), torch.empty(0))
    block.register_parameter(RESIDUAL_SCALE, nn.Parameter(weight.new_zeros(channels)))
    block.register_forward_hook(_blend)
    block.register_load_state_dict_pre_hook(_accept_plain_form)


def _blend(block: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
    """Return x + s (f(x) - x), in the dtype of x. A forward hook; a deep copy calls its own s."""
    x, s = args[0], getattr(block, RESIDUAL_SCALE)
    return torch.lerp(x, output.to(x.dtype), s[:, None, None].to(x.dtype))


def _accept_plain_form(
    block: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any
) -> None:
    """Set s to 1 where a file has weights of the block without it."""
    key = prefix + RESIDUAL_SCALE
    plain = key not in state_dict and any(name.startswith(prefix) for name in state_dict)
    vars(block)["loaded_plain_form"] = plain  # for the report, too
    if plain:
        state_dict[key] = torch.full_like(getattr(block, RESIDUAL_SCALE), PLAIN_SCALE)


def _returns_its_input(block: nn.Module, channels: int) -> bool:
    """Return whether the block is the identity on noise, in training and in eval mode."""
    weight = next(block.parameters(), torch.empty(0))
    with preserve_state(block), torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        x = torch.randn((2, channels, 5, 7), generator=generator, device="cpu").to(weight)
        for training in (False, True):
            for module in block.modules():
                module.training = training
            y = block(x)
            if not (isinstance(y, Tensor) and y.shape == x.shape and torch.equal(y, x)):
                return False
    return True


def _initialized_by_a_network(block: nn.Module) -> nn.Module:
    """Return a copy of the block after an initialisation such as that of mmengine's networks."""
    block = copy.deepcopy(block)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for module in block.modules():
            if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                nn.init.normal_(module.weight)
            elif isinstance(module, _NORMS) and module.weight is not None:
                nn.init.ones_(module.weight)
        init_weights = getattr(block, "init_weights", None)
        if init_weights is not None:
            init_weights()
    return block
