"""Where the small real datasets lie, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SHARED_DATA = Path(os.environ.get("MMATTN_SHARED_DATA") or REPO.parent / "shared" / "data")
