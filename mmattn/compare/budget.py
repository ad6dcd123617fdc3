"""Length of training of each variant: a number of iterations, or a time that becomes one.

A time is turned into iterations once, with the speed of the network without a block, and that
number is written down and holds for all variants. Equal iterations mean equal data in equal order
and an equal schedule, so that the block is the only difference and the run can be repeated on
another machine; equal times would give a slow block fewer images and would depend on what else the
machine does. What a block costs is reported beside its accuracy instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from statistics import median

from mmattn.errors import ConfigError

_WORD = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>it|s|min|h)")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
#: Steps that are not counted when the base is timed: caches and allocators are cold.
WARM_UP = 3


@dataclass(frozen=True)
class Budget:
    """Length of a training; exactly one of both is set.

    Attributes:
        iterations: Number of training steps.
        seconds: Time of training, without validation.
    """

    iterations: int | None = None
    seconds: float | None = None

    def in_iterations(self, step_seconds: list[float]) -> int:
        """Return the budget in steps, given how long steps of the base took, warm-up included."""
        if self.iterations is not None:
            return self.iterations
        return max(1, round(self.seconds / median(step_seconds[WARM_UP:] or step_seconds)))


def parse_budget(text: str) -> Budget:
    """Read ``300it``, ``90s``, ``5min`` or ``1.5h``.

    Raises:
        ConfigError: ``text`` is something else, or nothing at all (``0it``).
    """
    match = _WORD.fullmatch(text.strip())
    if match is None:
        raise ConfigError(
            f"--budget {text!r}: expected iterations or a time for each run: 300it, 90s, 5min, 1h."
        )
    number = float(match["number"])
    if match["unit"] == "it":
        if number < 1 or number != int(number):
            raise ConfigError(
                f"--budget {text!r}: expected a whole number of iterations, at least 1."
            )
        return Budget(iterations=int(number))
    if number <= 0:
        raise ConfigError(f"--budget {text!r}: must be longer than zero.")
    return Budget(seconds=number * _SECONDS[match["unit"]])
