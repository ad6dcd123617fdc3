"""Find out what an installation is made of and what is broken in it: ``mmattn doctor``.

Each module returns findings on one subject; ``examine`` puts them together.
"""

from __future__ import annotations

from .examination import examine as examine
from .findings import Finding as Finding
from .findings import Section as Section

__all__ = ["Finding", "Section", "examine"]
