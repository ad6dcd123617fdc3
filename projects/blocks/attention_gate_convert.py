"""Attention gates' weights in the authors' networks, and back.

    here        there
    theta, …    gate_block_1.theta, …

Their U-Nets are for volumes: ``AttentionGate(…, spatial_dims=3)``. What follows a gate there,
``combine_gates``, and the rest of the network keep their names.
"""

from __future__ import annotations

from mmattn.io.block_weights import block_converter, renamed_entries
from mmattn.io.convert import StateDict, register_converter

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_ENTRIES = (
    "theta.weight",
    *(f"{layer}.{entry}" for layer in ("phi", "psi", "W.0", "W.1") for entry in ("weight", "bias")),
    *(f"W.1.{entry}" for entry in _STATISTICS),
)
_COMBINE = {
    f"combine_gates.{layer}.{entry}"
    for layer in (0, 1)
    for entry in ("weight", "bias", *(_STATISTICS if layer else ()))
}
_KEPT = {name: name for name in _COMBINE}
_OURS = {**{f"gate_block_1.{name}": name for name in _ENTRIES}, **_KEPT}
_THEIRS = {ours: theirs for theirs, ours in _OURS.items()}


def _describe(entries: StateDict) -> str:
    weight = entries["gate_block_1.theta.weight"]
    hidden, channels, subsample = weight.shape[:3]
    gating = entries["gate_block_1.phi.weight"].shape[1]
    transform = "" if "gate_block_1.W.0.weight" in entries else ", output_transform=False"
    dims = "" if weight.dim() == 4 else f", spatial_dims={weight.dim() - 2}"
    return (
        f"dict(type='mmattn.AttentionGate', in_channels={channels}, gating_channels={gating}, "
        f"hidden_channels={hidden}, subsample={subsample}{transform}{dims})"
    )


register_converter(
    block_converter(
        name="attention-gate-official",
        description="gates of ozan-oktay/Attention-Gated-Networks -> mmattn.AttentionGate",
        marks=("gate_block_1.theta.weight", "gate_block_1.phi.weight", "gate_block_1.psi.weight"),
        convert=lambda entries: renamed_entries(entries, _OURS),
        reverse_marks=("theta.weight", "phi.weight", "psi.weight"),
        reverse=lambda entries: renamed_entries(entries, _THEIRS),
        describe=_describe,
    )
)
