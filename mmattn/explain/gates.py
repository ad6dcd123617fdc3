"""Gates: factors between 0 and 1, mostly, with which blocks scale channels, rows and positions.

A gate is no importance: a large gate on a channel that is zero says nothing. Each one is shown with
what it does to the target when its values are replaced by their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmattn.plugins.identity import RESIDUAL_SCALE

from .attention.contract import gates_of, tells_attention
from .attention.inputs import Call, recorded_calls
from .attention.names import qualified_names
from .explanation import Explanation, NothingToShow
from .layers import FeatureLayer, captured, find_modules
from .networks import Network, Sample, evaluation
from .target import Target

#: Coefficients of the task-aware attention of Dynamic Head.
COEFFICIENTS = ("a1", "b1", "a2", "b2")
#: A call -> its gates by name, each (C or 1, H or 1, W or 1).
GateReader = Callable[[Call], dict[str, Tensor]]


def gate_views(
    network: Network, sample: Sample, target: Target, at: str = "auto"
) -> list[Explanation]:
    """Show the gates of blocks, with their statistics and what they do to the target.

    Args:
        network: Network.
        sample: Image.
        target: What the ablation is measured by.
        at: Name or pattern of modules; ``auto`` takes the last one that has gates.

    Raises:
        NothingToShow: No module has gates, or none that ``at`` names.
    """
    modules = gate_modules(network.model, at)
    with evaluation(network.model), torch.no_grad(), recorded_calls(modules) as calls:
        network(sample.inputs, sample, queries=target.kind == "query")
    groups = []
    for call in calls:
        gates = read_gates(call)
        if gates:
            groups.append((call, gates))
    if not groups:
        raise NothingToShow(f"--at {at}: what is there has no gates; take --method attention")
    if at == "auto":
        groups = groups[-1:]
        if len(groups[0][0].output) > 1 and not isinstance(groups[0][0].output, Tensor):
            groups = [_of_one_level(network, sample, target, *groups[0])]
    return [one for call, gates in groups for one in _views(network, sample, target, call, gates)]


def _of_one_level(
    network: Network, sample: Sample, target: Target, call: Call, gates: dict[str, Tensor]
) -> tuple[Call, dict[str, Tensor]]:
    """Keep the gates of the level that moves the target most, of a block that returns several."""
    with evaluation(network.model), torch.enable_grad():
        inputs = sample.inputs.detach().requires_grad_()
        layer = FeatureLayer(call.name, call.module)
        with captured(layer, sample.placement.padded) as kept:
            y = target(network(inputs, sample, queries=target.kind == "query"))
        if not y.requires_grad:
            return call, gates
        gradients = torch.autograd.grad(y, kept.leaves, allow_unused=True)
    sizes = [0.0 if g is None else float(g.norm()) for g in gradients]
    start = f"level {sizes.index(max(sizes))},"
    return call, {name: gate for name, gate in gates.items() if name.startswith(start)} or gates


def gate_modules(model: nn.Module, at: str) -> dict[str, nn.Module]:
    """Return the modules with gates among those that ``at`` names.

    Raises:
        NothingToShow: There are none.
    """
    named = dict(model.named_modules()) if at == "auto" else find_modules(model, at)
    found: dict[str, nn.Module] = {}
    for name, outer in named.items():
        inside = [("", outer)] if at == "auto" or _has_gates(outer) else outer.named_modules()
        for key, module in inside:
            if _has_gates(module):
                found[f"{name}.{key}" if key else name] = module
    found.pop("", None)
    if not found:
        raise NothingToShow(
            f"--at {at}: no gates are known there; a block tells its own by a method "
            "attention_maps(x)"
        )
    return found


def _has_gates(module: nn.Module) -> bool:
    return tells_attention(module) or any(name in READERS for name in qualified_names(module))


def read_gates(call: Call) -> dict[str, Tensor]:
    """Return the gates of a call by name, each (C or 1, H or 1, W or 1) float64."""
    reader = next((READERS[n] for n in qualified_names(call.module) if n in READERS), None)
    with torch.no_grad():
        if reader is not None:
            return {name: gate.double() for name, gate in reader(call).items()}
        return gates_of(call)


def gate_numbers(gate: Tensor) -> dict[str, float]:
    """Return statistics of a gate: extremes, mean, nearly shut, nearly open, effective number."""
    flat = gate.flatten()
    total = float(flat.sum())
    return {
        "min": float(flat.min()),
        "mean": float(flat.mean()),
        "max": float(flat.max()),
        "below_0.1": float((flat < 0.1).double().mean()),
        "above_0.9": float((flat > 0.9).double().mean()),
        "effective_share": total**2 / float(flat.square().sum()) / len(flat) if total else 0.0,
    }


def _views(
    network: Network, sample: Sample, target: Target, call: Call, gates: Mapping[str, Tensor]
) -> list[Explanation]:
    found = []
    effects = _ablations(network, sample, target, call, gates)
    for name, gate in gates.items():
        channels, height, width = gate.shape
        explanation = Explanation("gates", name, call.name, call=call.number)
        if height == width == 1:
            explanation.channels = gate[:, 0, 0].cpu().numpy()
        else:
            values = gate.mean(0)
            size = _size_of(call)
            if size is not None and 1 in (height, width):
                values = values.expand(size)
            explanation.values = np.ascontiguousarray(values.cpu().numpy())
            if channels > 1:
                explanation.name += f", mean of {channels}"
        if name.endswith("task"):
            explanation.parts = tuple((of, channels // 4) for of in COEFFICIENTS)
            means = gate.flatten().unflatten(0, (4, -1)).mean(1).tolist()
            explanation.numbers |= {
                f"mean_{k}": v for k, v in zip(COEFFICIENTS, means, strict=True)
            }
        elif "scales of" in name:
            explanation.parts = tuple((of, 1) for of in name.partition("scales of ")[2].split(", "))
            explanation.numbers.update(gate_numbers(gate))
        elif "offsets" not in name:  # these are lengths
            explanation.numbers.update(gate_numbers(gate))
        if name in effects:
            what = "score" if target.kind == "detection" else "y"
            explanation.numbers[what] = effects[""]
            explanation.numbers[f"{what}_with_mean_gate"] = effects[name]
        found.append(explanation)
    x = call.args[0] if call.args and isinstance(call.args[0], Tensor) else None
    spatial = gates.get("spatial")
    if x is not None and spatial is not None and x.dim() == 4:
        size = x[0].abs().mean(0).double()
        if spatial.shape[1:] == size.shape:
            product = (size * spatial[0]).cpu().numpy()
            name = "spatial times mean |x|"
            found.append(Explanation("gates", name, call.name, product, call=call.number))
    return found


def _size_of(call: Call) -> tuple[int, int] | None:
    x = call.args[0] if call.args else None
    return (x.shape[2], x.shape[3]) if isinstance(x, Tensor) and x.dim() == 4 else None


_Form = Callable[[Tensor, list[Tensor]], Tensor]
#: How blocks combine their gates with the input: the first that gives the output is taken.
_FORMS: tuple[_Form, ...] = (
    lambda x, gates: _product(x, gates),
    lambda x, gates: _product(x, gates) + x,
    lambda x, gates: x * (sum(gates[1:], gates[0]) / len(gates)),
)


def _product(x: Tensor, gates: list[Tensor]) -> Tensor:
    for gate in gates:
        x = x * gate
    return x


def _in_identity_form(form: _Form, module: Any) -> _Form:
    """Return a form as ``init="identity"`` has it, x + s (f(x) - x), where the block has an s."""
    factor = getattr(module, RESIDUAL_SCALE, None)
    if factor is None:
        return form
    s = factor.detach().double()[:, None, None]
    return lambda x, gates: x + s * (form(x, gates) - x)


def _ablations(
    network: Network, sample: Sample, target: Target, call: Call, gates: Mapping[str, Tensor]
) -> dict[str, float]:
    """Return y with each gate replaced by its mean, and y itself as ``""``, where that is known."""
    x, output = (call.args[0] if call.args else None), call.output
    if not (isinstance(x, Tensor) and isinstance(output, Tensor) and x.shape == output.shape):
        return {}
    wide = x.double()[0]
    scale = max(1.0, float(output.abs().max()))
    forms = [_in_identity_form(form, call.module) for form in _FORMS]
    form = next(
        (
            form
            for form in forms
            if float((form(wide, list(gates.values())) - output[0]).abs().max()) < 1e-4 * scale
        ),
        None,
    )
    if form is None:
        return {}
    effects = {"": _with_output(network, sample, target, call, output)}
    for name in gates:
        replaced = [g.mean().expand_as(g) if key == name else g for key, g in gates.items()]
        new = form(wide, replaced)[None].to(output.dtype)
        effects[name] = _with_output(network, sample, target, call, new)
    return effects


def _with_output(
    network: Network, sample: Sample, target: Target, call: Call, output: Tensor
) -> float:
    """Return y where a module returns something else in one of its calls."""
    numbers = count(1)

    def replace(*_: Any) -> Tensor | None:
        return output if next(numbers) == max(call.number, 1) else None

    handle = call.module.register_forward_hook(replace)
    try:
        with evaluation(network.model), torch.no_grad():
            outputs = network(sample.inputs, sample, queries=target.kind == "query")
            if target.kind == "detection":
                return target.faithful_score(outputs)  # its number may be another one by now
            return float(target(outputs))
    finally:
        handle.remove()


def _of_se_layer(call: Call) -> dict[str, Tensor]:
    """``SELayer`` of mmdet and mmseg."""
    module, x = call.module, call.args[0]
    return {"channel": module.conv2(module.conv1(module.global_avgpool(x)))[0]}


def _of_channel_attention(call: Call) -> dict[str, Tensor]:
    """``ChannelAttention`` of mmdet's CSPNeXt."""
    module, x = call.module, call.args[0]
    return {"channel": module.act(module.fc(module.global_avgpool(x)))[0]}


def _of_dynamic_head(call: Call) -> dict[str, Tensor]:
    """A block of Dynamic Head, mmattn's or mmdet's: all that it scales each level by.

    Scale gates are those of a level's own map, of the finer one and of the coarser one; masks and
    lengths of offsets are means over the nine taps. The task's are the coefficients of
    max(a1 x + b1, a2 x + b2), one after the other, (4 C, 1, 1).
    """
    module, levels = call.module, call.args[0]
    found: dict[str, Tensor] = {}
    with (
        recorded_calls({"": module.scale_attn_module}) as scales,
        recorded_calls({"": module.spatial_conv_offset}) as samplings,
        recorded_calls({"": module.task_attn_module}) as tasks,
    ):
        getattr(module, "textbook", module.forward)(levels)
    gates = iter(scales)
    for index in range(len(levels)):
        sources = ["own"]
        sources += ["finer"] if index > 0 else []
        sources += ["coarser"] if index < len(levels) - 1 else []
        values = [next(gates).output[0].flatten() for _ in sources]
        found[f"level {index}, scales of {', '.join(sources)}"] = torch.cat(values)[:, None, None]
        sampling = samplings[index].output[0]
        found[f"level {index}, mask"] = sampling[18:].sigmoid().mean(0, keepdim=True)
        offsets = sampling[:18].unflatten(0, (9, 2)).norm(dim=1)
        found[f"level {index}, length of offsets"] = offsets.mean(0, keepdim=True)
        found[f"level {index}, task"] = _coefficients(tasks[index])[:, None, None]
    return found


def _coefficients(call: Call) -> Tensor:
    """Return a1, b1, a2 and b2 of a dynamic ReLU, mmattn's or mmdet's, one after the other."""
    module, x = call.module, call.args[0]
    if hasattr(module, "of_means"):
        return torch.cat(module.of_means(x.mean((2, 3))), 1)[0]
    theta = module.conv2(module.conv1(module.global_avgpool(x)))[0, :, 0, 0] - 0.5
    a1, b1, a2, b2 = theta.chunk(4)
    return torch.cat([2 * a1 + 1, b1, 2 * a2, b2])


#: Name of a class -> how its gates are read, for blocks that do not tell them themselves.
READERS: dict[str, GateReader] = {
    "mmdet.models.layers.se_layer.SELayer": _of_se_layer,
    "mmdet.models.layers.se_layer.ChannelAttention": _of_channel_attention,
    "mmseg.models.utils.se_layer.SELayer": _of_se_layer,
    "mmdet.models.necks.dyhead.DyHeadBlock": _of_dynamic_head,
    "mmattn.projects.dynamic_head.block.DynamicHeadBlock": _of_dynamic_head,
}
