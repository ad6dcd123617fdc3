"""ELA: efficient local attention (Xu and Wan, 2024)."""

from . import convert as convert
from .ela import ELA as ELA
