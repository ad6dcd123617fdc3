"""Refuse a config with everything that is wrong in it, not with the first fault alone."""

from __future__ import annotations

from collections.abc import Sequence

from mmattn.errors import ConfigError


def refuse(problems: Sequence[str], filename: str | None = None) -> None:
    """Raise a ConfigError that lists ``problems``; none pass.

    Args:
        problems: Sentences, each with the key that it is about.
        filename: Path of the config, used in messages.

    Raises:
        ConfigError: There are problems.
    """
    problems = list(dict.fromkeys(problems))
    if not problems:
        return
    where = f"{filename}: " if filename else ""
    if len(problems) == 1:
        raise ConfigError(f"{where}{problems[0]}")
    listed = "\n  ".join(problems)
    raise ConfigError(f"{where}{len(problems)} settings are wrong:\n  {listed}")
