"""Cases of ``benchmarks/detection.py``: one module per subject, with a function ``rows(device)``.

The rows are those of ``benchmarks/ops_cases``: contenders that compute the same from the same.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from ops_cases import Row


def find_rows(device: str, subjects: Sequence[str] = ()) -> list[Row]:
    """Return the rows of some subjects, or of all, in the order of the modules' names.

    Raises:
        SystemExit: A subject has no module here.
    """
    known = sorted(info.name for info in pkgutil.iter_modules(__path__))
    unknown = sorted(set(subjects) - set(known))
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; choose from {', '.join(known)}")
    rows: list[Row] = []
    for name in known:
        if not subjects or name in subjects:
            rows += importlib.import_module(f"{__name__}.{name}").rows(device)
    return rows
