"""The section ``ranks`` of a config: how the processes of one training watch each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmattn.io.plain_data import is_number

from .problems import refuse

#: Seconds without progress after which a process counts as hung.
HEARTBEAT = 45.0


def read_heartbeat(cfg: Mapping[str, Any]) -> float | None:
    """Return the limit of a config, in seconds; None where there is none.

    Raises:
        ConfigError: The section is wrong.
    """
    refuse(ranks_problems(cfg), getattr(cfg, "filename", None))
    return (cfg.get("ranks") or {}).get("heartbeat", HEARTBEAT)


def ranks_problems(cfg: Mapping[str, Any]) -> list[str]:
    """List what is wrong with the section ``ranks`` of a config."""
    section = cfg.get("ranks")
    if section is None:
        return []
    if not isinstance(section, Mapping):
        return [f"ranks={section!r} must be a dictionary such as ranks=dict(heartbeat=120)."]
    problems = [f"ranks.{key} is unknown; there is heartbeat." for key in section
                if key != "heartbeat"]  # fmt: skip
    limit = section.get("heartbeat", HEARTBEAT)
    if limit is not None and not (is_number(limit) and limit > 0):
        problems.append(
            f"ranks.heartbeat={limit!r} must be a number of seconds above 0, or None for no limit."
        )
    return problems
