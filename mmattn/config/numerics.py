"""The section ``numerics`` of a config: what happens to a step that is not finite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mmattn.errors import did_you_mean

from .problems import refuse

POLICIES = ("stop", "skip")


@dataclass(frozen=True)
class NumericsSettings:
    """Policy for a step whose loss or gradients are not finite.

    Attributes:
        policy: ``"stop"`` ends the training; ``"skip"`` leaves the step out and goes on.
        max_in_a_row: Steps that ``"skip"`` leaves out one after the other; one more ends the run.
        max_scaler_skips: Steps that the loss scaler of float16 may leave out one after the other;
            to leave out a few is how it finds its scale.
    """

    policy: str = "stop"
    max_in_a_row: int = 5
    max_scaler_skips: int = 100

    def __post_init__(self) -> None:
        refuse(numerics_problems({"numerics": vars(self)}))


def read_numerics(cfg: Mapping[str, Any]) -> NumericsSettings:
    """Return the settings of a config.

    Raises:
        ConfigError: The section is wrong.
    """
    refuse(numerics_problems(cfg), getattr(cfg, "filename", None))
    return NumericsSettings(**(cfg.get("numerics") or {}))


def numerics_problems(cfg: Mapping[str, Any]) -> list[str]:
    """List what is wrong with the section ``numerics`` of a config."""
    section = cfg.get("numerics")
    if section is None:
        return []
    if not isinstance(section, Mapping):
        return [
            f"numerics={section!r} must be a dictionary such as "
            "numerics=dict(policy='skip', max_in_a_row=5)."
        ]
    known = {field.name for field in fields(NumericsSettings)}
    problems = [
        f"numerics.{key} is unknown; there are {', '.join(sorted(known))}."
        f"{did_you_mean(str(key), known)}"
        for key in section
        if key not in known
    ]
    policy = section.get("policy", "stop")
    if policy not in POLICIES:
        problems.append(
            f"numerics.policy={policy!r} must be 'stop' or 'skip'."
            f"{did_you_mean(str(policy), POLICIES)}"
        )
    for key in ("max_in_a_row", "max_scaler_skips"):
        value = section.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            problems.append(f"numerics.{key}={value!r} must be a whole number of at least 1.")
    return problems
