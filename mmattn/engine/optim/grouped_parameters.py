"""Three parameter groups: what is decayed, the weights of normalisations, and biases.

mmengine's constructor makes a group of every parameter as soon as one of its ``*_mult`` is set;
an optimiser then steps through hundreds of groups of one tensor each, and can't use its kernels
for many tensors at once.
"""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmattn.errors import ConfigError
from mmattn.registry import OPTIM_WRAPPER_CONSTRUCTORS

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm, nn.RMSNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor:
    """Build an optimiser with the groups ``"weight"``, ``"norm"`` and ``"bias"``.

    Only the first has weight decay. Each parameter is in one of them, by the module that holds it:
    a ``bias`` in the last, other parameters of a normalisation in the second, and all else in the
    first, scales of branches such as ``gamma`` too. Groups without parameters are left out, and so
    are parameters without gradients. The name of a group is its ``"name"``, by which a schedule
    finds the biases (:class:`LinearWithWarmup`).

    Args:
        optim_wrapper_cfg: Config of the wrapper, whose ``optimizer`` is that of the optimiser.
        paramwise_cfg: Must be None or empty: there is nothing to set.

    Raises:
        ConfigError: ``paramwise_cfg`` is given, or ``optimizer`` is missing.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise ConfigError(
                f"optim_wrapper.paramwise_cfg={dict(paramwise_cfg)}: "
                "GroupedOptimWrapperConstructor has a fixed rule and takes none; remove it, or "
                "remove optim_wrapper.constructor to use mmengine's"
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = self.wrapper_cfg.pop("optimizer", None)
        if not isinstance(self.optimizer_cfg, dict):
            raise ConfigError("optim_wrapper.optimizer is missing: a dictionary with a type")

    def __call__(self, model: nn.Module) -> OptimWrapper:
        optimizer = OPTIMIZERS.build({**self.optimizer_cfg, "params": parameter_groups(model)})
        return OPTIM_WRAPPERS.build(
            {"type": "OptimWrapper", **self.wrapper_cfg}, default_args={"optimizer": optimizer}
        )


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the groups of a model's parameters, as torch's optimisers take them.

    Raises:
        ConfigError: The model has nothing to train.
    """
    groups: dict[str, list[nn.Parameter]] = {"weight": [], "norm": [], "bias": []}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            if name == "bias":
                groups["bias"].append(parameter)
            else:
                groups["norm" if isinstance(module, _NORMS) else "weight"].append(parameter)
    if not seen:
        raise ConfigError(
            "no parameter of the model has requires_grad: there is nothing to train. Lower "
            "model.backbone.frozen_stages, or leave frozen=True out"
        )
    undecayed: dict[str, dict[str, float]] = {"norm": {"weight_decay": 0.0}}
    undecayed["bias"] = undecayed["norm"]
    return [
        {"params": parameters, "name": name, **undecayed.get(name, {})}
        for name, parameters in groups.items()
        if parameters
    ]
