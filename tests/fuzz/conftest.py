"""Profiles of the property tests: few inputs by default, many in the nightly run.

``MMATTN_FUZZ=nightly`` draws new inputs each time, and many; by default they are few and always the
same, so that a failure is the change's and not the day's.
"""

from __future__ import annotations

import hypothesis
from hypothesis import HealthCheck, Phase, settings

from tests.support.fuzzing import CI, NIGHTLY, is_nightly

# Slow machines are no failure: hangs are looked for in ``test_damaged_files.py``.
_COMMON = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", max_examples=CI, derandomize=True, **_COMMON)
settings.register_profile("nightly", max_examples=NIGHTLY, print_blob=True, **_COMMON)
settings.load_profile("nightly" if is_nightly() else "ci")


def pytest_report_header() -> str:
    """Name the profile and the number of inputs of each property."""
    current = settings()
    shrinks = Phase.shrink in current.phases
    return (
        f"hypothesis {hypothesis.__version__}: {current.max_examples} inputs a property"
        f"{', new ones each time' if is_nightly() else ', always the same'}"
        f"{'' if shrinks else ', not reduced'}"
    )
